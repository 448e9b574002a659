"""What only the host knows of a run: why it failed, what its model's file asks for, and its machine."""

from __future__ import annotations

import pytest
import torch
from wanattn.tests.host.imitations import Preferred

PLACE = "diffusion_model.blocks.{}.self_attn.comfy_attention"
REST = "VAE and text encoder: not part of this model"
OPEN = "in force where no override takes the call"


def test_a_failure_is_told_by_its_error_as_far_as_the_error_tells(comfy):
    from wanattn.nodes.host.report.facts import failure_of

    plain = ValueError("no such head\nand more")
    told = ValueError("long")
    told.sentence, told.advice, told.step, told.block = "no kernel", "choose flash", 3, 0

    assert failure_of(plain) == {
        "sentence": "ValueError: no such head",
        "advice": "",
        "step": None,
        "block": None,
    }
    assert failure_of(told) == {
        "sentence": "no kernel",
        "advice": "choose flash",
        "step": 3,
        "block": 0,
    }


@pytest.fixture
def wishing(load, monkeypatch):
    """A model with wishes of its file and of a LoRA: one for each of its blocks, None for none."""

    def wishing(file=(), lora=(), loaded=False):
        model = load("t2v").clone()
        for number, config in enumerate(file):
            module = model.model.diffusion_model.blocks[number].self_attn
            monkeypatch.setattr(module, "comfy_attention", Preferred(config, None), raising=False)
        for number, config in enumerate(lora):
            place, wish = PLACE.format(number), Preferred(config, None)
            model.object_patches[place] = wish
            module = model.model.diffusion_model.blocks[number].self_attn
            if loaded:  # as the host does when the model goes to its device
                backup = model.object_patches_backup  # that of the loaded model itself
                monkeypatch.setitem(backup, place, module.comfy_attention)
                monkeypatch.setattr(module, "comfy_attention", wish)
        return model

    return wishing


@pytest.mark.parametrize(
    ("file", "lora", "told"),
    [
        ([], [], []),
        (["sage"], [], ["the file asks for sage in 1 module: "]),
        (["sage"] * 2, [], ["the file asks for sage in 2 modules: "]),
        ([["a", {"name": "b"}]], [], ["the file asks for a or b in 1 module: "]),
        ([{"backend": "a", "name": "b"}], [], ["the file asks for a in 1 module: "]),
        ([{"backend": "a"}], [], ["the file asks for a in 1 module: "]),
        ([{"bits": 8}], [], ['the file asks for {"bits": 8} in 1 module: ']),
        ([], ["a"], ["a LoRA asks for a in 1 module: "]),
        (["a"], ["b"], ["a LoRA asks for b in 1 module in place of the file's a: "]),
        (
            ["a", "a"],
            ["b"],
            [
                "a LoRA asks for b in 1 module in place of the file's a: ",
                "the file asks for a in 1 module: ",
            ],
        ),
    ],
)
def test_it_is_told_who_asks_for_what_in_how_many_modules(wishing, file, lora, told):
    from wanattn.nodes.host.report.facts import unseen

    model = wishing(file, lora)
    assert unseen(model) == [*(f"{each}{OPEN}" for each in told), REST]
    decided = [f"{each}Attention Backend comes before it" for each in told]
    assert unseen(model, True) == [*decided, REST]


def test_the_files_wish_is_still_told_once_the_loras_has_taken_its_place(wishing):
    from wanattn.nodes.host.report.facts import unseen

    first, _ = unseen(wishing(["a"], ["b"], loaded=True))

    assert first == f"a LoRA asks for b in 1 module in place of the file's a: {OPEN}"


def test_the_environment_is_that_of_the_pack_the_host_and_the_machine(comfy):
    import comfyui_version
    from wanattn.attention.environment import probe
    from wanattn.nodes.host.report.facts import environment
    from wanattn.version import __version__

    assert environment() == {
        "wanattn": __version__,
        "comfyui": comfyui_version.__version__,
        "host_attention": "pytorch",
        **probe().facts("cpu"),
    }


def test_memory_is_counted_once_on_each_cuda_device(comfy, monkeypatch):
    from wanattn.nodes.host.report.facts import peaks, start_peaks

    started = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", started.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 + device.index)
    names = ("cpu", "cuda:1", "mps", "cuda:0", "cuda:1")
    counted = start_peaks([torch.device(name) for name in names])

    assert started == counted == [torch.device("cuda:1"), torch.device("cuda:0")]
    assert peaks(counted) == {"cuda:1": 6, "cuda:0": 5}
