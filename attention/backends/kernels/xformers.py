"""xformers, which picks a kernel: since 0.0.29 those of flash-attn, of FlashAttention-3 or torch's own."""

from __future__ import annotations

import torch

from ...environment import Environment
from ..kernel import kernel
from ..limits import HALF, Limits
from ..packages import WHEELS, Package, pip


def _load():
    from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]

    return memory_efficient_attention


def _attend(function, q, k, v, mask, scale) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # B H N D -> B N H D
    return function(q, k, v, scale=scale).transpose(1, 2)


def _install(environment: Environment) -> str:
    """PyPI's wheel is built for CUDA 12.8 and does not load beside a torch for CUDA 13."""
    if environment.hip:
        return "xformers has wheels for ROCm 7.1 on Linux alone; its README gives their place."
    cuda = (environment.cuda or "").replace(".", "")
    return pip("--no-deps", "xformers", *(["--index-url", f"{WHEELS}cu{cuda}"] if cuda else []))


PACKAGE = Package("xformers", ("xformers",), _load, _install)

# Its masks need an aligned layout of their own, which this pack does not make.
XFORMERS = kernel(
    "xformers",
    Limits("xformers", (*HALF, torch.float32), (7, 5), multiple=8, grouped=False, rocm=True),
    PACKAGE,
    _attend,
    note="has none of its own since 0.0.29: runs flash-attn's or FlashAttention-3's where it finds them, else torch's",
)
