"""Times a function on the device that it keeps busy."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def timer_for(device: torch.device) -> Callable[..., float]:
    """A function that runs another one so many times and gives the milliseconds of one.

    On a GPU `ahead`, or else a call before several, keeps the device busy while the host queues them.
    """
    return _by_events if device.type == "cuda" else _by_clock


def _by_events(
    run: Callable[[], object], times: int, ahead: Callable[[], object] | None = None
) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    if ahead:
        ahead()
    elif times > 1:
        run()
    start.record()
    for _ in range(times):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / times


def _by_clock(
    run: Callable[[], object], times: int, ahead: Callable[[], object] | None = None
) -> float:
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) * 1e3 / times
