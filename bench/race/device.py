"""The device beside what is timed on it: its memory, and calls that fail."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from ...attention import failure
from ..results.row import Row

TIMED = ("cpu", "cuda")  # the types of device that kernels can be timed on


def attempt(work: Callable[[], None], row: Row, device: torch.device) -> bool:
    """Whether it went well. Anything may fail at any call: the row says why and has no times, the others go on."""
    try:
        work()
    except Exception as error:
        failure.release(error)
        row.reason = failure.words(error)
        row.times.clear()
        free(device)
    return not row.reason


def free(device: torch.device) -> None:
    """Gives back what a device keeps for later; elsewhere memory goes back by itself."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def begin_peak(device: torch.device) -> int:
    """Bytes that are allocated now, from which on the peak is counted; 0 where nothing counts them."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak(device: torch.device, before: int = 0) -> float | None:
    """GiB since then, beyond `before`."""
    if device.type != "cuda":
        return None
    return (torch.cuda.max_memory_allocated(device) - before) / 2**30
