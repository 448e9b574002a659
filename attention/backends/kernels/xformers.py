"""xformers, which picks one of its own kernels or torch's."""

from __future__ import annotations

import torch

from ...environment import Environment
from ..kernel import kernel
from ..limits import HALF, Limits
from ..packages import Package, pip


def _load():
    from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]

    return memory_efficient_attention


def _attend(function, q, k, v, mask, scale) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # B H N D -> B N H D
    return function(q, k, v, scale=scale).transpose(1, 2)


def _install(environment: Environment) -> str:
    return pip("--no-deps", "xformers")


PACKAGE = Package("xformers", ("xformers",), _load, _install)

# Its masks need an aligned layout of their own, which this pack does not make.
XFORMERS = kernel(
    "xformers",
    Limits("xformers", (*HALF, torch.float32), (7, 5), multiple=8, grouped=False, rocm=True),
    PACKAGE,
    _attend,
    note="runs torch's own kernels where its wheel was built for another torch",
)
