"""What a call of WanVideoWrapper's functions asks for: its mode, what must stay there, its mask and its dtype."""

from __future__ import annotations

import json

import pytest
import torch
from wanattn.attention.record.name import name_of
from wanattn.attention.run.intercept import CAUSAL

HALF, BRAIN, WHOLE = torch.float16, torch.bfloat16, torch.float32
FLASH = "flash_attn_2"


@pytest.fixture(scope="module")
def modes(comfy):
    from wanattn.nodes.wrapper import modes

    return modes


def given(word: str) -> str:
    """As a prompt gives it, in letters of its own."""
    return json.loads(json.dumps(word))


def some(*shape: int, dtype: torch.dtype = WHOLE) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros(shape, dtype=dtype) for _ in range(3))


@pytest.mark.parametrize("mode", ["sdpa", "comfy", FLASH, "aiter"])
def test_a_way_is_named_by_its_mode_and_comfy_by_what_the_host_runs(modes, mode):
    from comfy.ldm.modules.attention import optimized_attention

    told = {"comfy": f"comfy ({name_of(optimized_attention)})"}

    assert name_of(modes.way(len, given(mode), False)) == told.get(mode, mode)


@pytest.mark.parametrize(
    ("fixed", "mode", "runs"),
    [
        ("", "sdpa", "sdpa"),
        ("", "comfy", "comfy"),
        ("", "sageattn", "sageattn"),
        ("", "radial_sage_attention", "sdpa"),
        ("sageattn", "sdpa", "sageattn"),
        ("radial_sage_attention", "sdpa", "radial_sage_attention"),
    ],
)
def test_a_function_that_knows_one_mode_runs_it_and_the_common_one_what_it_is_told(
    modes, fixed, mode, runs
):
    assert modes.asked(fixed, *some(1, 8, 2, 16), attention_mode=given(mode)).mode == runs


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ({}, ""),
        ({"causal": True}, CAUSAL),
        ({"is_causal": True}, CAUSAL),
        ({"dropout_p": 0.1}, CAUSAL),
        ({"q_scale": 2.0}, "scaled query or local window, left to WanVideoWrapper"),
        ({"window_size": (-1, -1)}, ""),
        ({"window_size": [-1, -1]}, ""),
        ({"window_size": (4, 4)}, "scaled query or local window, left to WanVideoWrapper"),
        ({"window_size": (-1, 0)}, "scaled query or local window, left to WanVideoWrapper"),
        ({"transformer_options": {}, "heads": 2}, ""),
    ],
)
def test_what_no_kernel_computes_stays_with_the_wrapper(modes, named, left):
    assert modes.asked("", *some(1, 8, 2, 16), **named).left == left


@pytest.mark.parametrize(
    ("mode", "lengths", "cut"),
    [
        (FLASH, None, False),
        (FLASH, [300, 300], False),
        (FLASH, [300, 299], True),
        (FLASH, [512, 400], False),
        (FLASH, torch.tensor([300, 5]), True),
        ("sdpa", [300, 5], False),
    ],
)
def test_only_flash_cuts_keys_to_their_lengths_and_only_shorter_ones(modes, mode, lengths, cut):
    q, k, v = some(2, 300, 4, 16)

    left = modes.asked("", q, k, v, None, lengths, attention_mode=mode).left

    assert left == (modes.CUT if cut else "")


def test_packed_samples_stay_and_are_told_as_one(modes):
    asked = modes.asked("", *some(8, 2, 16), causal=True)

    assert (asked.left, asked.q.shape, asked.k.shape) == (
        "samples packed one after the other, kernels here take them side by side",
        (1, 8, 2, 16),
        (1, 8, 2, 16),
    )


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((8, 6), (1, 1, 8, 6)),
        ((2, 8, 6), (1, 2, 8, 6)),
        ((3, 2, 8, 6), (3, 2, 8, 6)),
    ],
)
def test_a_mask_has_batch_and_heads_before_its_own(modes, shape, shown):
    mask = torch.ones(shape, dtype=torch.bool)

    assert modes.asked("", *some(3, 8, 2, 16), attn_mask=mask).mask.shape == shown


def test_torch_casts_only_within_autocast(modes):
    with torch.autocast("cpu", dtype=HALF):
        within = modes.autocast_to("cpu")

    assert (within, modes.autocast_to("cpu")) == (HALF, None)


@pytest.mark.parametrize(
    ("mode", "dtype", "casts", "cast", "computed"),
    [
        ("sdpa", WHOLE, False, None, WHOLE),
        ("sdpa", WHOLE, False, HALF, HALF),
        ("sdpa", WHOLE, True, HALF, BRAIN),
        ("sdpa", HALF, True, None, BRAIN),
        (FLASH, WHOLE, False, None, BRAIN),
        (FLASH, WHOLE, True, HALF, BRAIN),
        (FLASH, HALF, False, None, HALF),
        (FLASH, HALF, True, WHOLE, HALF),
    ],
)
def test_a_call_is_computed_in_the_dtype_that_the_wrapper_would_take(
    modes, mode, dtype, casts, cast, computed
):
    call = modes.asked("", *some(1, 8, 2, 16, dtype=dtype), attention_mode=mode)

    assert modes.computed_in(call, casts, cast) == computed


@pytest.mark.parametrize("mode", ["sageattn_ultravico", "radial_sage_attention"])
def test_what_is_no_plain_attention_is_kept_until_it_is_taken_over(modes, mode):
    own = f"{mode} is no plain attention and keeps its own kernel"

    assert (modes.kept(mode, False), modes.kept(mode, True)) == (own, "")
    assert (modes.kept("sdpa", False), modes.kept("sdpa", True)) == ("", "")
