"""What each kernel takes on a card: every card, head size, dtype and kind of call that anybody may come with."""

from __future__ import annotations

import pytest
import torch
from wanattn.attention.backends import BACKENDS, packages

CARDS = ((7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0))
AMPERE_ON = "8.0 8.6 8.9 9.0 10.0 10.3 12.0"
TURING_ON = f"7.5 {AMPERE_ON}"
SIZES = (16, 32, 40, 64, 72, 96, 100, 128, 136, 192, 256, 264, 512)
EIGHTHS = "16 32 40 64 72 96 128 136 192 256"
ALL_SIZES = " ".join(map(str, SIZES))
DTYPES = ("float16", "bfloat16", "float32", "float64")
HALVES, SINGLE = "float16 bfloat16", "float16 bfloat16 float32"
KINDS = {
    "mask": ({"mask": "bool"}, "masked call"),
    "grouped": ({"kv_heads": 8}, "key heads"),
    "values": ({"value_dim": 64}, "value head_dim"),
}
# Cards, head sizes, dtypes, kinds of calls; "rocm" for AMD's cards.
TAKES = {
    "flash": (AMPERE_ON, EIGHTHS, HALVES, "grouped rocm"),
    "efficient": (AMPERE_ON, f"{EIGHTHS} 264 512", SINGLE, "mask values rocm"),
    "cudnn": (AMPERE_ON, EIGHTHS, HALVES, "mask grouped values"),
    "math": (f"7.0 {TURING_ON}", ALL_SIZES, " ".join(DTYPES), "mask grouped values rocm"),
    "fa3": ("8.0 8.6 8.9 9.0", EIGHTHS, HALVES, "grouped"),
    "fa4": ("9.0 10.0 10.3", EIGHTHS, HALVES, "grouped"),
    "fa2": (AMPERE_ON, EIGHTHS, HALVES, "grouped rocm"),
    "fastflash": (AMPERE_ON, "16 32 64 128", "bfloat16", ""),
    "xformers": (TURING_ON, EIGHTHS, SINGLE, "rocm"),
    "sage": (AMPERE_ON, "16 32 40 64 72 96 100 128", SINGLE, "grouped"),
    "sage3": ("10.0 10.3 12.0", "64 128", HALVES, ""),
    "int8": (TURING_ON, "16 32 40 64 72 96 100 128 136 192 256", SINGLE, "mask grouped rocm"),
    "fa3_fp8": ("9.0", "64 128 256", HALVES, ""),
    "torch_fa3": ("9.0", EIGHTHS, HALVES, "grouped"),
    "torch_fa4": ("9.0 10.0 10.3", EIGHTHS, HALVES, "grouped"),
}


@pytest.fixture
def takes(make_call, make_environment, no_package):
    """Whether no refusal has these words; that a kernel's package is missing is another matter."""

    def takes(name, words, facts, environment=None):
        told = BACKENDS[name].refusals(make_call(**facts), environment or make_environment())
        return not any(words in reason and "built without" not in reason for reason in told)

    return takes


def test_every_kernel_is_in_the_table():
    assert set(TAKES) == set(BACKENDS)


@pytest.mark.parametrize("name", TAKES)
def test_a_kernel_takes_these_calls_and_no_others(takes, make_environment, name):
    cards, sizes, dtypes, kinds = TAKES[name]
    amd = make_environment(None, hip="6.4", cuda=None, cudnn=None)

    assert cards == " ".join(
        f"{card[0]}.{card[1]}"
        for card in CARDS
        if takes(name, "capability", {}, make_environment(card))
    )
    assert sizes == " ".join(
        str(size)
        for size in SIZES
        if takes(name, "head_dim", {"head_dim": size, "value_dim": size})
    )
    assert dtypes == " ".join(
        name_of for name_of in DTYPES if takes(name, "dtype", {"dtype": getattr(torch, name_of)})
    )
    found = [kind for kind, (facts, words) in KINDS.items() if takes(name, words, facts)]
    assert kinds.split() == found + ["rocm"] * takes(name, "ROCm", {}, amd)


@pytest.mark.parametrize("name", ["flash", "efficient", "cudnn"])
def test_a_fused_kernel_takes_batches_up_to_where_its_results_go_wrong(takes, name):
    assert takes(name, "batch", {"batch": 32768})
    assert not takes(name, "batch", {"batch": 32769})


@pytest.mark.parametrize(("card", "most"), [((9, 0), 256), ((10, 0), 128), ((10, 3), 128)])
def test_flash_attention_4_takes_larger_heads_on_hopper_alone(
    takes, make_environment, monkeypatch, card, most
):
    monkeypatch.setattr(packages, "find", lambda package: packages.Found(print))
    machine = make_environment(card)
    sizes = [{"head_dim": size, "value_dim": size} for size in SIZES]
    fits = [each["head_dim"] for each in sizes if takes("fa4", "head_dim", each, machine)]

    assert fits == [size for size in SIZES if size <= most and size % 8 == 0]
