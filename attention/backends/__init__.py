"""Every attention kernel the pack can run, by name."""

from __future__ import annotations

from .backend import Backend, Refused
from .kernel import Kernel
from .kernels import KERNELS
from .sdpa import CUDNN, EFFICIENT, FLASH, MATH

BACKENDS: dict[str, Backend] = {
    **{backend.name: backend for backend in (FLASH, EFFICIENT, CUDNN, MATH)},
    **KERNELS,
}


def register(backend: Backend) -> None:
    """Let a user name one more backend. `auto` asks only those that it knows."""
    BACKENDS[backend.name] = backend


__all__ = ["BACKENDS", "Backend", "Kernel", "Refused", "register"]
