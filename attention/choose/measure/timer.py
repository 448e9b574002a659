"""Times a function on the device that it keeps busy."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch


def timer_for(device: torch.device) -> Callable[..., float]:
    """A function that runs another one so many times and gives the milliseconds of one.

    On a GPU `ahead`, or else a call before several, keeps the device busy while the host queues them.
    """
    return functools.partial(_by_events, device) if device.type == "cuda" else _by_clock


def _by_events(
    device: torch.device,
    run: Callable[[], object],
    times: int,
    ahead: Callable[[], object] | None = None,
) -> float:
    stream = torch.cuda.current_stream(device)  # of that device, whichever is the current one
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    if ahead:
        ahead()
    elif times > 1:
        run()
    start.record(stream)
    for _ in range(times):
        run()
    end.record(stream)
    end.synchronize()
    return start.elapsed_time(end) / times


def _by_clock(
    run: Callable[[], object], times: int, ahead: Callable[[], object] | None = None
) -> float:
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) * 1e3 / times
