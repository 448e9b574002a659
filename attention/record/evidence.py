"""What really executed: the operators and device kernels that the profiler saw.

A dispatch mode sees only the composite operator under inference mode; the profiler sees the real one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import torch
from torch._C._autograd import DeviceType, _profiler_enabled
from torch.profiler import ProfilerActivity, profile

from .record import OPERATORS, Sighting

PROOFS = ("off", "sample", "every call")
COPIES = ("Memcpy", "Memset")
log = logging.getLogger("wanattn")
_profiler = threading.Lock()  # torch allows one profiler a process


def watch(
    run: Callable[[], torch.Tensor], device: torch.device
) -> tuple[torch.Tensor, Sighting | None]:
    """Run under the profiler; return the result and what was seen.

    None if another profiler is at work or the profiler itself fails: only errors of `run` come through.
    """
    if not _profiler.acquire(blocking=False):
        return run(), None
    try:
        return (run(), None) if _elsewhere() else _profiled(run, device)
    finally:
        _profiler.release()


def _elsewhere() -> bool:
    """Whether a profiler runs in this thread or in another: torch knows them apart, and allows one in all."""
    return _profiler_enabled() or getattr(torch.autograd.profiler, "_is_profiler_enabled", False)


def _profiled(run, device: torch.device) -> tuple[torch.Tensor, Sighting | None]:
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    started, results = [], []
    try:
        with profile(activities=activities, acc_events=True) as session:
            started.append(time.perf_counter())
            results.append(run())
            seconds = time.perf_counter() - started[0]
        return results[0], _sighting(session.events() or (), seconds, device)
    except Exception:
        if started and not results:  # the call's own
            raise
        log.warning("the profiler failed; the call goes unproved", exc_info=True)
        return (results[0] if results else run()), None


def _sighting(events, seconds: float, device: torch.device) -> Sighting:
    kernels = [event for event in events if event.device_type == DeviceType.CUDA]
    kernels = [event for event in kernels if not event.name.startswith(COPIES)]
    operators = sorted({event.name for event in events if "::" in event.name} - _names(kernels))
    backends = sorted({OPERATORS[name] for name in operators if name in OPERATORS})
    spent = sum(event.time_range.elapsed_us() for event in kernels) / 1e3
    return Sighting(
        tuple(backends),
        tuple(operators),
        tuple(sorted(_names(kernels))),
        spent if device.type == "cuda" else seconds * 1e3,
    )


def _names(events) -> set[str]:
    return {event.name for event in events}
