"""Which of the backends that a menu names can run here, and what the others need; told to the page with the menu."""

from __future__ import annotations

import functools

import comfy.model_management
import torch

from ..attention.backends import BACKENDS, Backend, Kernel
from ..attention.call import Call
from ..attention.environment import Environment, probe

HEADS, TOKENS, HEAD_DIM = 40, 256, 128  # few tokens: memory is not asked for here


@functools.cache
def possible() -> dict[str, dict[str, str]]:
    """`here` and `lacking`: a backend's name to its label, or to a sentence saying what it needs.

    No package is imported for it: one that is installed counts as here, and says so itself if it does not load.
    """
    device = str(comfy.model_management.get_torch_device())
    found = {name: lack(backend, device, probe()) for name, backend in BACKENDS.items()}
    return {
        "here": {name: BACKENDS[name].label for name, reason in found.items() if not reason},
        "lacking": {name: reason for name, reason in found.items() if reason},
    }


def lack(backend: Backend, device: str, environment: Environment) -> str:
    """Why a call as Wan makes them cannot run on this backend here, empty if it can."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    call = Call("self", 1, HEADS, TOKENS, TOKENS, HEAD_DIM, dtype, device)
    if not isinstance(backend, Kernel) or call.device_type != "cuda":
        return "; ".join(backend.refusals(call, environment))
    if backend.package.version is None:
        return f"{backend.package.title} not installed: {backend.package.install(environment)}"
    return ""
