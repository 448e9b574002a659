"""Every attention kernel the pack can run, by name."""

from __future__ import annotations

from .backend import Backend, Refused
from .sdpa import CUDNN, EFFICIENT, FLASH, MATH

BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (FLASH, EFFICIENT, CUDNN, MATH)
}

__all__ = ["BACKENDS", "Backend", "Refused"]
