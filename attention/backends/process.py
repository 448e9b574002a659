"""What torch keeps for the whole process about attention, and the one lock for whoever turns it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.backends import cuda

from .backend import Refused
from .replaced import replacement

LOCK = threading.Lock()
SWITCHES = {
    "flash": (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
    "efficient": (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
    "cudnn": (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
    "math": (cuda.math_sdp_enabled, cuda.enable_math_sdp),
}


def switched(kernel: str, q, k, v, mask=None, scale=None) -> torch.Tensor:
    """SDPA with one kernel switched on, for a torch without that kernel's operator. Refused where it cannot run."""
    grouped = k.shape[1] != q.shape[1]
    with LOCK, _only(kernel):
        try:
            return F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=grouped)
        except RuntimeError as error:
            if "No available kernel" not in str(error) and "No viable backend" not in str(error):
                raise
            raise Refused([str(error).partition("\n")[0]]) from error


@contextmanager
def _only(kernel: str) -> Iterator[None]:
    before = [enabled() for enabled, _ in SWITCHES.values()]
    try:
        for name, (_, enable) in SWITCHES.items():
            enable(name == kernel)
        yield
    finally:
        for (_, enable), was in zip(SWITCHES.values(), before, strict=True):
            enable(was)


@contextmanager
def swapped(impl: str) -> Iterator[None]:
    """torch's flash operator runs FlashAttention-3 or -4 meanwhile; what was active before comes back after it."""
    from torch.nn import attention

    with LOCK:
        before = attention.current_flash_attention_impl()
        try:
            attention.activate_flash_attention_impl(impl)
            yield
        finally:
            if before:
                attention.activate_flash_attention_impl(before)
            else:
                attention.restore_flash_attention_impl(_raise_warn=False)


def replaced(backend: str) -> str:
    """Who stands in the place of a kernel of torch's, but for a swap of ours that is under way."""
    with LOCK:
        return replacement(backend)
