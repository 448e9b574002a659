"""What a queued prompt tells of a model: prompts as a page sends them, and what may be in them."""

from __future__ import annotations

import json

import pytest
from wanattn.nodes.host.expected.wired import expert_of, file_of, size_of

LATENT = {"width": 192, "height": 128, "length": 17}


def sent(prompt: dict) -> dict:
    """As it comes from a client: no two of its words are one object."""
    return json.loads(json.dumps({key: {"inputs": inputs} for key, inputs in prompt.items()}))


def behind(**loader) -> dict:
    """A node 10 whose model comes from a loader with these inputs."""
    return sent({"10": {"model": ["1", 0]}, "1": loader})


def before(latent: dict, **others: dict) -> dict:
    """A node 10 with a sampler behind it that starts from this latent."""
    sampler = {"model": ["10", 0], "latent_image": ["6", 0]}
    return sent({**others, "10": {"model": ["1", 0]}, "5": sampler, "6": latent})


@pytest.mark.parametrize(
    "loader",
    [
        {"unet_name": "wan.safetensors", "clip_name": "umt5.safetensors"},
        {"unet_name": "video/wan/2.2/wan.safetensors"},
        {"unet_name": "video\\wan\\2.2\\wan.safetensors"},
        {"weight_dtype": "default", "strength": 1, "unet_name": "wan.safetensors"},
        {"lists": [["1"], ["1", 0, 0], ["a", "b"]], "unet_name": "wan.safetensors"},
        {"one": ["1"], "unet_name": "wan.safetensors"},
        {"three": ["1", 0, 0], "unet_name": "wan.safetensors"},
        {"words": ["a", "b"], "unet_name": "wan.safetensors"},
    ],
)
def test_the_first_file_that_a_loader_names_is_told_without_its_folder(loader):
    assert file_of(behind(**loader), "10") == "wan.safetensors"


def test_the_nearest_loader_is_told_whatever_else_is_wired_to_the_models_nodes():
    """A LoRA's loader has a model wired in; one input leads to no node of the prompt, another to one that was seen."""
    lora = {"model": ["1", 0], "lora_name": "lightx2v.safetensors"}
    merge = {"gone": ["99", 0], "one": ["2", 0], "again": ["2", 1], "other": ["3", 0]}
    loaders = {"1": {"unet_name": "base.sft"}, "3": {"steps": 1, "of": ["4", 0]}}
    prompt = sent({"10": {"model": ["m", 0]}, "m": merge, "2": lora, "4": {}, **loaders})

    assert file_of(prompt, "10") == "base.sft"


@pytest.mark.parametrize(
    "prompt", [None, {}, {"10": {}}, behind(), behind(text="a cat"), sent({"10": {"model": "wan"}})]
)
def test_no_file_is_told_where_no_loader_names_one(prompt):
    assert file_of(prompt, "10") == ""


@pytest.mark.parametrize(
    ("file", "expert"),
    [
        ("wan2.2_t2v_high_noise_14B.safetensors", "high noise"),
        ("Wan2.2-I2V-LowNoise.gguf", "low noise"),
        ("wan2.2_ti2v_5B.safetensors", ""),
    ],
)
def test_the_expert_is_told_by_the_name_of_its_file(file, expert):
    assert expert_of(file) == expert


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({}, (192, 128, 17)),
        ({"length": 1}, (192, 128, 1)),
        ({"length": None}, None),
        ({"length": 0}, None),
        ({"height": -16}, None),
        ({"width": "192"}, None),
        ({"width": 192.0}, None),
        ({"width": True}, None),
    ],
)
def test_a_size_is_three_whole_numbers_above_nothing(changed, size):
    assert size_of(before({**LATENT, **changed}), "10") == size


@pytest.mark.parametrize(
    ("wired", "width"),
    [
        ({"value": 640}, 640),
        ({"value": "640"}, None),
        ({"value": True}, None),
        ({"value": 640, "of": ["10", 0]}, None),
        ({}, None),
    ],
)
def test_a_number_may_come_from_a_node_that_has_nothing_wired_to_it(wired, width):
    told = size_of(before({**LATENT, "width": ["w", 0]}, w=wired), "10")

    assert told == (width and (width, 128, 17))


def test_the_size_is_that_of_the_sampler_behind_the_node_and_of_no_other():
    """Two other samplers come before it in the prompt, on nodes whose ids come before and after this one's."""
    others = {
        "a": {"model": ["0", 0], "latent_image": ["o", 0]},
        "b": {"model": ["z", 0], "latent_image": ["o", 0]},
        "o": {"width": 64, "height": 64, "length": 5},
    }

    assert size_of(before(LATENT, **others), "10") == (192, 128, 17)


def test_the_size_is_found_through_a_guider_and_past_what_changes_the_latent():
    prompt = sent(
        {
            "10": {"model": ["1", 0]},
            "g": {"model": ["10", 0]},
            "5": {"guider": ["g", 0], "latent_image": ["c", 0]},
            "c": {"samples": ["6", 0], "mask": ["99", 0]},
            "6": LATENT,
        }
    )

    assert size_of(prompt, "10") == (192, 128, 17)


def test_a_latent_that_is_not_wired_tells_no_size():
    prompt = sent({"10": {}, "5": {"model": ["10", 0], "latent_image": "none"}, "6": LATENT})

    assert size_of(prompt, "10") is None


def test_a_loop_ends():
    loop = sent({"10": {"model": ["2", 0]}, "2": {"model": ["10", 0]}})

    assert (file_of(loop, "10"), size_of(loop, "10")) == ("", None)
