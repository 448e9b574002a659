"""A card that is there and that this torch cannot use: which, why, and what mends it. Pure."""

from __future__ import annotations

import re

from ..backends.packages import WHEELS, pip
from ..environment import Environment, Gpu

# PyPI's torch for Windows is built for CPUs; this is where the project itself puts the others.
CUDA_TORCH = f"{WHEELS}cu130"
OLD_CUDA_TORCH = f"{WHEELS}cu126"  # the last one with code for what came before Turing
XPU_TORCH = f"{WHEELS}xpu"
TURING = (7, 5)
BEFORE_TURING = re.compile(
    r"\b(GTX (TITAN|750|9\d\d|10\d\d)|TITAN (X|Xp|V)|MX[123]\d\d|[PMV]\d{2,4}|G[PV]100)\b"
)
RADEON = re.compile(r"\b(RX [5-9]\d{3}|Radeon (AI )?PRO [RW]\d+|Instinct)\b", re.IGNORECASE)
OF_ROCM = (
    "PyTorch's own wheels for AMD are for Linux (pytorch.org, Get Started); "
    "AMD's for Windows are at rocm.docs.amd.com, under Radeon."
)
DRIVER = (
    "The card's driver may be too old for that CUDA, or CUDA_VISIBLE_DEVICES may hide the card."
)


def card(environment: Environment, device: str) -> str:
    """Its name, empty if torch can use what it finds. Of several, NVIDIA's is named first."""
    if environment.gpus:
        gpu = environment.gpu(device if device.startswith("cuda") else "cuda")
        return gpu.name if gpu and lacks_code(environment, gpu) else ""
    if nvidia := next((name for name in environment.cards if "NVIDIA" in name), ""):
        return nvidia
    return next((name for name in environment.cards if _other(environment, name)), "")


def _other(environment: Environment, name: str) -> bool:
    """A Radeon that computes, or an Arc, and a torch that was built for something else."""
    amd = bool(RADEON.search(name)) and not environment.built_for.startswith("ROCm")
    return amd or (_is_arc(name) and environment.built_for != "XPU")


def _is_arc(name: str) -> bool:
    return "Intel" in name and "Arc" in name


def lacks_code(environment: Environment, gpu: Gpu) -> bool:
    """Whether this torch was built without code for the card. Where it does not tell, it is taken to have some."""
    if gpu.capability is None or not environment.code:
        return False
    return not any(_runs(target, gpu.capability) for target in environment.code)


def _runs(target: str, capability: tuple[int, int]) -> bool:
    """Of `sm_86`, which runs on later cards of its major, `sm_90a`, only on its own, `compute_90`, on all later ones."""
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", target)
    if not found:
        return True
    kind, major, minor, only = found.groups()
    built = (int(major), int(minor))
    if only == "a":
        return built == capability
    return built <= capability and (kind == "compute" or built[0] == capability[0])


def why(environment: Environment, device: str) -> str:
    gpu = environment.gpu(device if device.startswith("cuda") else "cuda")
    if gpu and gpu.capability:
        built = ", ".join(environment.code)
        return f"it is built for {built}, and this card is sm_{''.join(map(str, gpu.capability))}"
    if "NVIDIA" in card(environment, device) and environment.built_for.startswith("CUDA"):
        return f"it is built for {environment.built_for} and finds no card that it can use"
    return f"it is built for {environment.built_for.replace('cpu', 'CPUs only')}"


def remedy(environment: Environment, device: str) -> str:
    """The line that lets torch use the card, a sentence where none does, empty where nothing is wrong."""
    name = card(environment, device)
    if RADEON.search(name):
        return OF_ROCM
    if "NVIDIA" in name and environment.built_for.startswith("CUDA") and not environment.gpus:
        return DRIVER
    return _torch(XPU_TORCH if _is_arc(name) else _cuda(environment, device, name)) if name else ""


def _cuda(environment: Environment, device: str, name: str) -> str:
    gpu = environment.gpu(device if device.startswith("cuda") else "cuda")
    capability = gpu.capability if gpu else None
    old = capability < TURING if capability else bool(BEFORE_TURING.search(name))
    return OLD_CUDA_TORCH if old else CUDA_TORCH


def _torch(index: str) -> str:
    return pip("--force-reinstall", "torch", "torchvision", "torchaudio", "--index-url", index)
