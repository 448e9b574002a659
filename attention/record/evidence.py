"""What really executed: the operators and device kernels that the profiler saw.

A dispatch mode sees only the composite operator under inference mode; the profiler sees the real one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from .profilers import OtherProfilers
from .record import OPERATORS, Record, Sighting

PROOFS = ("off", "sample", "every call")
COPIES = ("Memcpy", "Memset")
OTHER = (
    "another profiler is at work in this process, and torch allows one: calls go unproved beside it"
)
FAILED = "torch's profiler failed (see the server's log): calls go unproved"
log = logging.getLogger("wanattn")
_profiler = threading.Lock()  # torch allows one profiler a process
_others = OtherProfilers()


def watch(
    run: Callable[[], torch.Tensor],
    device: torch.device,
    note: Callable[[str], None] = lambda sentence: None,
) -> tuple[torch.Tensor, Sighting | None]:
    """Run under the profiler; return the result and what was seen.

    None, and a sentence for `note`, if another profiler is at work or the profiler itself fails: only errors of `run`
    come through.
    """
    if not _profiler.acquire(blocking=False):
        return run(), None
    try:
        with _others.waiting():
            if not _others.found():
                return _profiled(run, device, note)
        note(OTHER)
        return run(), None
    finally:
        _profiler.release()


def _profiled(
    run: Callable[[], torch.Tensor], device: torch.device, note: Callable[[str], None]
) -> tuple[torch.Tensor, Sighting | None]:
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
        note(FAILED)
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


def confront(record: Record, sighting: Sighting) -> None:
    """Put what the profiler saw into the record; where it contradicts the backend, what was seen counts."""
    record.sighting = sighting
    if record.evidence == "host":
        record.active = sighting.name or record.active
        record.evidence = "profiled" if sighting.name else "host"
    elif sighting.contradicts(record.active):
        seen = sighting.name or "no attention operator of torch"
        contradiction = f"{record.active} was forced, but the profiler saw {seen}"
        record.reason = "; ".join(filter(None, (record.reason, contradiction)))
        record.active, record.mismatch = sighting.name or "unknown", True
