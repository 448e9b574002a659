"""Cards that torch cannot use, on machines made up of facts: the first line says so, and what mends it."""

from __future__ import annotations

import sys

import pytest
from wanattn.attention.choose import advice, unused
from wanattn.attention.environment import Environment, Gpu

WINDOWS, LINUX = "Windows AMD64", "Linux x86_64"
CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CU130 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


pytestmark = pytest.mark.usefixtures("no_package")


def machine(*cards: str, built_for="cpu", system=WINDOWS, gpus=(), code=()) -> Environment:
    return Environment(
        "2.14.1", "3.14.0", system, gpus=gpus, cards=cards, built_for=built_for, code=code
    )


def with_card(name: str, capability, code, system=LINUX) -> Environment:
    gpus = (Gpu(f"NVIDIA {name}", capability, 2**34),)
    return machine(gpus[0].name, built_for="CUDA 13.0", system=system, gpus=gpus, code=code)


UNUSED = [
    (
        machine("NVIDIA GeForce RTX 4090"),
        "NVIDIA GeForce RTX 4090",
        "built for CPUs only.",
        "cu130",
    ),
    (
        machine("Intel(R) UHD Graphics", "NVIDIA GeForce RTX 5090"),
        "NVIDIA GeForce RTX 5090",
        "built for CPUs only.",
        "cu130",
    ),
    (
        machine("AMD Radeon(TM) Graphics", "NVIDIA GeForce RTX 4090 Laptop GPU"),
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "built for CPUs only.",
        "cu130",
    ),
    (
        machine("NVIDIA GeForce GTX 1080 Ti"),
        "NVIDIA GeForce GTX 1080 Ti",
        "built for CPUs only.",
        "cu126",
    ),
    (machine("NVIDIA Quadro P5000"), "NVIDIA Quadro P5000", "built for CPUs only.", "cu126"),
    (
        machine("NVIDIA GeForce GTX 1660 SUPER"),
        "NVIDIA GeForce GTX 1660 SUPER",
        "built for CPUs only.",
        "cu130",
    ),
    (
        machine("NVIDIA GeForce RTX 4090", built_for="XPU"),
        "NVIDIA GeForce RTX 4090",
        "built for XPU.",
        "cu130",
    ),
    (
        machine("NVIDIA A100-SXM4-80GB", built_for="ROCm 6.4", system=LINUX),
        "NVIDIA A100-SXM4-80GB",
        "built for ROCm 6.4.",
        "cu130",
    ),
    (
        machine("NVIDIA GeForce RTX 3090", built_for="CUDA 13.0", system=LINUX),
        "NVIDIA GeForce RTX 3090",
        "built for CUDA 13.0 and finds no card that it can use.",
        "driver may be too old",
    ),
    (
        machine("AMD Radeon(TM) Graphics", "AMD Radeon RX 7900 XTX"),
        "AMD Radeon RX 7900 XTX",
        "built for CPUs only.",
        "rocm.docs.amd.com",
    ),
    (
        machine("AMD Radeon RX 9070 XT", built_for="CUDA 13.0"),
        "AMD Radeon RX 9070 XT",
        "built for CUDA 13.0.",
        "rocm.docs.amd.com",
    ),
    (
        machine("Intel(R) Arc(TM) B580 Graphics"),
        "Intel(R) Arc(TM) B580 Graphics",
        "built for CPUs only.",
        "whl/xpu",
    ),
    (
        with_card("GeForce RTX 5090", (12, 0), CU126, WINDOWS),
        "NVIDIA GeForce RTX 5090",
        f"built for {', '.join(CU126)}, and this card is sm_120.",
        "cu130",
    ),
    (
        with_card("Tesla V100-SXM2-32GB", (7, 0), CU130),
        "NVIDIA Tesla V100-SXM2-32GB",
        f"built for {', '.join(CU130)}, and this card is sm_70.",
        "cu126",
    ),
    (
        with_card("Tesla P40", (6, 1), CU130),
        "NVIDIA Tesla P40",
        f"built for {', '.join(CU130)}, and this card is sm_61.",
        "cu126",
    ),
    (
        with_card("GB200", (10, 0), ("sm_80", "sm_90a")),
        "NVIDIA GB200",
        "built for sm_80, sm_90a, and this card is sm_100.",
        "cu130",
    ),
]


@pytest.mark.parametrize(("environment", "card", "why", "mends"), UNUSED)
def test_the_first_line_names_a_card_that_torch_cannot_use(environment, card, why, mends):
    device = "cuda" if environment.gpus else "cpu"

    told = advice.answer(environment, device, advice.standing(environment, device))

    assert told == f"torch 2.14.1 cannot use your {card}: it is {why}"
    assert mends in unused.remedy(environment, device)


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        (machine(), "cpu"),
        (machine("Microsoft Basic Display Adapter", "Parsec Virtual Display Adapter"), "cpu"),
        (machine("AMD Radeon(TM) Graphics"), "cpu"),
        (machine("Intel(R) UHD Graphics 770"), "cpu"),
        (machine("Apple M3 Max", system="Darwin arm64"), "mps"),
        (machine("Intel(R) Arc(TM) B580", built_for="XPU"), "xpu"),
        (machine("AMD Radeon RX 7900 XTX", built_for="ROCm 6.4"), "cpu"),
        (with_card("GeForce RTX 5090", (12, 0), CU130), "cuda"),
        (with_card("GeForce RTX 5090", (12, 0), ("sm_80", "compute_90")), "cuda"),
        (with_card("GB10", (12, 1), CU130), "cuda"),
        (with_card("GeForce RTX 4090 Laptop GPU", (8, 9), CU130), "cuda"),
        (with_card("Tesla P40", (6, 1), CU126), "cuda"),
        (with_card("GH200 480GB", (9, 0), ("sm_80", "sm_90a")), "cuda"),
        (with_card("GB300", (10, 3), ("sm_100f",)), "cuda:0"),
        (with_card("a card in another way of writing", (9, 0), ("gfx1100", "sm_next")), "cuda"),
        (with_card("some card of a torch that tells nothing", (9, 0), ()), "cuda"),
    ],
)
def test_a_card_that_torch_uses_or_that_computes_nothing_is_not_missed(environment, device):
    assert unused.card(environment, device) == unused.remedy(environment, device) == ""
    assert "cannot use" not in advice.answer(
        environment, device, advice.standing(environment, device)
    )


def test_of_two_cards_it_is_the_one_that_is_asked_for():
    pair = (Gpu("NVIDIA GeForce RTX 4090", (8, 9), 2**34), Gpu("NVIDIA Tesla P40", (6, 1), 2**34))
    both = machine(*(gpu.name for gpu in pair), built_for="CUDA 13.0", gpus=pair, code=CU130)

    assert unused.card(both, "cuda") == ""
    assert unused.card(both, "cuda:1") == "NVIDIA Tesla P40"
    assert unused.remedy(both, "cuda:1").endswith("cu126")


def test_the_line_is_for_the_python_that_runs(monkeypatch):
    python = r"C:\ComfyUI_windows_portable\python_embeded\python.exe"
    monkeypatch.setattr(sys, "executable", python)

    line = unused.remedy(machine("NVIDIA GeForce RTX 5090"), "cpu")

    assert line.startswith(f"{python} -m pip install --force-reinstall torch ")
