"""What people are told first, on machines made up of facts, and where each figure comes from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from wanattn.attention.backends import BACKENDS, packages
from wanattn.attention.choose import advice, cards
from wanattn.attention.choose.measure.timings import Timing
from wanattn.attention.environment import Environment, Gpu

GIB = 2**30
TITLES = {
    kernel: BACKENDS[kernel].package.title
    for kernel in ("fa3", "fa4", "fa2", "fastflash", "xformers", "sage", "sage3", "int8", "fa3_fp8")
}


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """No kernel's package is there but those named."""
    there: set[str] = set()

    def find(package):
        if package.title in {TITLES[name] for name in there}:
            return packages.Found(print, version="2.0")
        return packages.Found(None, f"{package.title} not installed (No module)")

    monkeypatch.setattr(packages, "find", find)
    return lambda *names: there.update(names)


def nvidia(name: str, capability, system="Linux x86_64", **facts) -> Environment:
    card = f"NVIDIA {name}"
    known = {"cuda": "13.0", "cudnn": 91900, "gpus": (Gpu(card, capability, 24 * GIB),)}
    known |= {"cards": (card,), "built_for": "CUDA 13.0"}
    return Environment("2.12.1+cu130", "3.12.3", system, **{**known, **facts})


WINDOWS = "Windows AMD64"
H100 = nvidia("H100 80GB HBM3", (9, 0))
RTX_5090 = nvidia("GeForce RTX 5090", (12, 0), WINDOWS)
AMD = {"cuda": None, "cudnn": None, "hip": "6.4", "built_for": "ROCm 6.4"}
MI300 = nvidia(
    "",
    None,
    **AMD,
    gpus=(Gpu("AMD Instinct MI300X", None, 192 * GIB),),
    cards=("AMD Instinct MI300X",),
)
RX_7900 = nvidia(
    "",
    None,
    WINDOWS,
    **AMD,
    gpus=(Gpu("AMD Radeon RX 7900 XTX", None, 24 * GIB),),
    cards=("AMD Radeon RX 7900 XTX",),
)
PLAIN = Environment("2.13.0+cpu", "3.12.3", "Linux x86_64", built_for="cpu")
APPLE = Environment("2.13.0", "3.12.3", "Darwin arm64", cards=("Apple M3 Max",), built_for="cpu")
INTEL = Environment(
    "2.13.0+xpu", "3.12.3", "Linux x86_64", cards=("Intel(R) Arc(TM) B580",), built_for="XPU"
)
TORCH = "flash, efficient, cudnn, math"


@pytest.mark.parametrize(
    ("environment", "device", "there", "first"),
    [
        (
            PLAIN,
            "cpu",
            (),
            "Use auto. Here: flash, math. 11 kernels missing: they need a graphics card.",
        ),
        (
            RTX_5090,
            "cuda",
            (),
            f"Use auto. Here: {TORCH}. 6 kernels missing: fa2, fastflash, xformers, sage, sage3, int8.",
        ),
        (
            nvidia("GeForce RTX 5090", (12, 0), WINDOWS, flash_built=False),
            "cuda",
            ("sage", "fastflash"),
            "Use auto. Here: efficient, cudnn, math, fastflash, sage. 4 kernels missing: fa2, xformers, sage3, int8.",
        ),
        (
            nvidia("GeForce RTX 4090", (8, 9)),
            "cuda",
            ("int8",),
            f"Use auto. Here: {TORCH}, int8. 5 kernels missing: fa3, fa2, fastflash, xformers, sage.",
        ),
        (
            nvidia("GeForce RTX 3090", (8, 6)),
            "cuda:0",
            (),
            f"Use auto. Here: {TORCH}. 6 kernels missing: fa3, fa2, fastflash, xformers, sage, int8.",
        ),
        (
            nvidia("GeForce RTX 2080", (7, 5)),
            "cuda",
            (),
            "Use auto. Here: efficient, math. 2 kernels missing: xformers, int8.",
        ),
        (
            nvidia("GeForce GTX 1080", (6, 1)),
            "cuda",
            (),
            "Use auto. Here: efficient, math. Nothing is missing that this card could use.",
        ),
        (
            H100,
            "cuda",
            (),
            f"Use auto. Here: {TORCH}. 8 kernels missing: fa3, fa4, fa2, fastflash, xformers, sage, int8, fa3_fp8.",
        ),
        (
            nvidia("RTX PRO 6000 Blackwell Workstation Edition", (12, 0)),
            "cuda",
            ("fastflash", "sage"),
            f"Use auto. Here: {TORCH}, fastflash, sage. 4 kernels missing: fa2, xformers, sage3, int8.",
        ),
        (
            nvidia("A100-SXM4-80GB", (8, 0)),
            "cuda",
            ("fa2",),
            f"Use auto. Here: {TORCH}, fa2. 5 kernels missing: fa3, fastflash, xformers, sage, int8.",
        ),
        (
            nvidia("H200", (9, 0)),
            "cuda:0",
            ("fa3",),
            f"Use auto. Here: {TORCH}, fa3. 7 kernels missing: fa4, fa2, fastflash, xformers, sage, int8, fa3_fp8.",
        ),
        (
            nvidia("B200", (10, 0)),
            "cuda",
            ("fa4", "fa2", "fastflash", "xformers", "sage", "int8"),
            f"Use auto. Here: {TORCH}, fa4, fa2, fastflash, xformers, sage, int8. 1 kernel missing: sage3.",
        ),
        (
            MI300,
            "cuda",
            (),
            "Use auto. Here: flash, efficient, math. 3 kernels missing: fa2, xformers, int8.",
        ),
        (
            RX_7900,
            "cuda",
            (),
            "Use auto. Here: flash, efficient, math. 3 kernels missing: fa2, xformers, int8.",
        ),
        (
            APPLE,
            "mps",
            (),
            "Use host, ComfyUI's own attention. Here: math, which needs much memory; no other kernel can be named on mps.",
        ),
        (
            INTEL,
            "xpu",
            (),
            "Use host, ComfyUI's own attention. Here: math, which needs much memory; no other kernel can be named on xpu.",
        ),
    ],
)
def test_the_first_line_is_right_on(environment, device, there, first, installed):
    installed(*there)

    found = advice.standing(environment, device)

    assert advice.answer(environment, device, found) == first


def use(environment, device="cuda", known=None) -> str:
    here = advice.standing(environment, device).here
    return advice.use(environment, device, here, known or {})


def test_own_timings_come_first():
    longest = "bfloat16 1x40/40x128/128 80000x80000 mask none"
    known = {
        "bfloat16 1x40/40x128/128 7000x7000 mask none": {
            "flash": Timing(1, 1),
            "cudnn": Timing(2, 2),
        },
        longest: {"flash": Timing(400, 400), "cudnn": Timing(250, 260), "sage": Timing(100, 100)},
        "bfloat16 1x40/40x128/128 90000x512 mask none": {
            "flash": Timing(1, 1),
            "cudnn": Timing(2, 2),
        },
        "nonsense": {},
    }

    told = use(H100, known=known)

    assert told == (
        "Measured here: auto takes cudnn, 1.60x as fast as flash (self-attention of about 80,000 tokens)."
    )


def test_without_them_it_is_what_others_measured_and_says_so():
    told = use(H100)

    assert told.startswith(
        "NVIDIA H100 80GB HBM3: not measured here. Of what is here cudnn was fastest"
    )
    assert "ours: docs/measured.md, 2026-11-24" in told
    assert "flash was fastest" in use(nvidia("A100-SXM4-80GB", (8, 0)))
    assert "cudnn was fastest" in use(nvidia("B200", (10, 0)))
    assert "not measured here. Known of such a card: fa2 317 s" in use(RTX_5090)


@pytest.mark.parametrize(
    ("environment", "device"),
    [(MI300, "cuda"), (APPLE, "mps"), (INTEL, "xpu"), (nvidia("GeForce RTX 2080", (7, 5)), "cuda")],
)
def test_where_nothing_is_known_nothing_is_claimed(environment, device):
    assert "no figure of such a card is known" in use(environment, device)
    assert advice.gain(environment, device, advice.standing(environment, device)) is None


@pytest.mark.parametrize(
    ("environment", "there", "name", "why", "install"),
    [
        (H100, (), "fa3", "fa3, 1.2x cudnn elsewhere", "pip install fa3-fwd"),
        (H100, ("fa3",), None, "", ""),
        (
            RTX_5090,
            (),
            "fastflash",
            "fastflash, 1.1x fa2 elsewhere",
            "fastflash-attention triton-windows",
        ),
        (
            RTX_5090,
            ("fastflash",),
            "fa2",
            "fa2, 1.9x torch's own choice elsewhere",
            "pip install flash-attn",
        ),
        (
            RTX_5090,
            ("fa2",),
            "fastflash",
            "fastflash, 1.1x fa2 elsewhere",
            "fastflash-attention triton-windows",
        ),
        (RTX_5090, ("fa2", "fastflash"), "sage3", "sage3, approximate, 4.9x fa2 elsewhere", "PyPI"),
        (nvidia("GeForce RTX 3090", (8, 6)), (), None, "", ""),
        (
            nvidia("GeForce RTX 4090", (8, 9)),
            (),
            "sage",
            "sage, approximate, 2.6x fa2 elsewhere",
            "SageAttention 2 is not on PyPI",
        ),
        (nvidia("B200", (10, 0)), (), None, "", ""),
    ],
)
def test_the_missing_kernel_that_gains_most(environment, there, name, why, install, installed):
    installed(*there)

    found = advice.gain(environment, "cuda", advice.standing(environment, "cuda"))

    assert (found and found.name) == name
    if found:
        assert found.why.startswith(why) and install in found.install


def test_a_kernel_that_is_gone_is_not_advised_by_its_old_times():
    known = {
        "bfloat16 1x40/40x128/128 80000x80000 mask none": {
            "fa3": Timing(200, 200),
            "cudnn": Timing(250, 250),
            "flash": Timing(400, 400),
        }
    }

    assert use(H100, known=known).startswith(
        "Measured here: auto takes cudnn, 1.60x as fast as flash"
    )


@pytest.mark.parametrize(
    "card",
    [
        "",
        "NVIDIA GH200 480GB",
        "NVIDIA GB200",
        "NVIDIA H20",
        "NVIDIA L4",
        "NVIDIA GeForce RTX 5090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 5090 D",
        "NVIDIA GeForce RTX 5090 D v2",
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        "NVIDIA H100 PCIe MIG 1g.10gb",
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "Quadro RTX 6000",
    ],
)
def test_a_name_that_holds_another_card_s_is_not_that_card(card):
    assert cards.of_card(card) == []


def test_a_figure_of_no_card_by_name_says_of_what():
    told = use(nvidia("GeForce RTX 4070 Ti SUPER", (8, 9), WINDOWS))

    assert "cudnn was fastest elsewhere, on a card of 8.9: cudnn 106 TFLOP/s" in told
    assert "on a card" not in use(H100)


def test_of_two_cards_the_one_that_is_used_is_advised():
    pair = (
        Gpu("NVIDIA GeForce RTX 4090", (8, 9), 24 * GIB),
        Gpu("NVIDIA H100 PCIe", (9, 0), 80 * GIB),
    )
    both = nvidia("", None, gpus=pair, cards=tuple(gpu.name for gpu in pair))
    gains = {
        device: advice.gain(both, device, advice.standing(both, device))
        for device in ("cuda", "cuda:1")
    }

    assert [gain and gain.name for gain in gains.values()] == ["sage", "fa3"]
    assert gains["cuda:1"].install.endswith("pip install fa3-fwd")
    assert "RTX 4090: not measured" in use(both) and "H100 PCIe: not measured" in use(
        both, "cuda:1"
    )


def test_every_figure_has_a_source_and_a_date():
    known = {line.card for line in cards.lines()}

    assert {"H100", "H200", "B200", "A100", "RTX 4090", "RTX 5090", "RTX PRO 6000"} <= known
    for line in cards.lines():
        assert line.names
        if line.figures:
            assert line.unit in ("TFLOP/s", "x", "ms", "s") and line.of and line.source
            assert line.by in ("ours", "published")
            assert re.fullmatch(r"(read )?20\d\d-\d\d(-\d\d)?", line.date)
            assert min(line.figures.values()) > 0 and len(line.figures) > 1


@pytest.mark.parametrize(
    "card",
    [
        "RTX 3090",
        "RTX 4090",
        "RTX 5090",
        "RTX PRO 6000 Blackwell",
        "A100",
        "H100",
        "H200",
        "B200",
        "MI300X",
        "RX 7900 XTX",
        "Apple M3",
        "Intel(R) Arc",
    ],
)
def test_the_table_has_a_line_for(card):
    assert cards.of_card(card)


README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (RTX \w+(?: \w+)?|H100|B200|A100|AMD) \| (.+?) \|", README, re.MULTILINE)


@pytest.mark.parametrize(("card", "known"), ROWS, ids=[card for card, _ in ROWS])
def test_the_readme_says_what_the_table_says(card, known):
    told = re.findall(r"(?:`\w+`|SageAttention 2|choice|at least|int8) (\d+(?:\.\d+)?)", known)
    name = {"AMD": "RX 7900"}.get(card, card)

    assert told
    figures = {f"{figure:g}" for line in cards.of_card(name) for figure in line.figures.values()}
    assert {f"{float(figure):g}" for figure in told} <= figures


def test_the_readme_has_a_row_for_every_card_people_ask_for():
    assert {"RTX 5090", "RTX 4090", "RTX 3090", "H100", "AMD"} <= {card for card, _ in ROWS}


@pytest.mark.parametrize(
    ("environment", "device", "told"),
    [
        (PLAIN, "cpu", "On a CPU flash is the one fused kernel"),
        (replace(INTEL, cards=()), "xpu", "No card was found"),
    ],
)
def test_without_a_card_nothing_is_told_of_one(environment, device, told):
    assert use(environment, device) == f"{told} (not measured here; wanattn bench measures it)."
