"""Every attention kernel the pack can run, by name."""

from __future__ import annotations

from . import process
from .backend import Backend, Refused
from .kernel import Kernel
from .kernels.fastflash import FASTFLASH
from .kernels.flash import FA2, FA3, FA4, TORCH_FA3, TORCH_FA4
from .kernels.fp8 import FA3_FP8
from .kernels.kitchen import INT8
from .kernels.sage import SAGE, SAGE3
from .kernels.xformers import XFORMERS
from .sdpa import CUDNN, EFFICIENT, FLASH, MATH

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        FA3,
        FA4,
        FA2,
        FASTFLASH,
        XFORMERS,
        SAGE,
        SAGE3,
        INT8,
        FA3_FP8,
        TORCH_FA3,
        TORCH_FA4,
    )
}
BACKENDS: dict[str, Backend] = {
    **{backend.name: backend for backend in (FLASH, EFFICIENT, CUDNN, MATH)},
    **KERNELS,
}


def register(backend: Backend) -> None:
    """Let a user name one more backend. `auto` asks only those that it knows."""
    BACKENDS[backend.name] = backend


__all__ = ["BACKENDS", "KERNELS", "Backend", "Kernel", "Refused", "process", "register"]
