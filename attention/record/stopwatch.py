"""Times calls on the device they run on, without making the host wait for it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque

import torch

from .record import Record

Start = float | torch.cuda.Event | None


_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)


class Stopwatch:
    """CUDA calls are timed with events that are read later, CPU calls with the clock, others not at all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[tuple[int, int] | None, torch.cuda.Stream] = {}
        self._spare: dict[int | None, list[torch.cuda.Event]] = defaultdict(list)
        self._waiting: deque[tuple[Record, torch.cuda.Event, torch.cuda.Event, int | None]] = (
            deque()
        )

    def start(self, device: torch.device) -> Start:
        if device.type == "cuda":
            return self._event(device)
        return time.perf_counter() if device.type == "cpu" else None

    def stop(self, start: Start, device: torch.device, record: Record) -> None:
        if isinstance(start, float):
            record.milliseconds = (time.perf_counter() - start) * 1e3
        elif isinstance(start, torch.cuda.Event):
            end = self._event(device)
            with self._lock:
                self._waiting.append((record, start, end, device.index))

    def settle(self, wait: bool = False) -> None:
        """Read the events that the device has passed; `wait` reads all of them, once the work is done."""
        with self._lock:
            while self._waiting:
                record, start, end, index = self._waiting[0]
                if wait:
                    end.synchronize()
                elif not end.query():
                    return
                record.milliseconds = start.elapsed_time(end)
                self._spare[index] += (start, end)
                self._waiting.popleft()

    def _event(self, device: torch.device) -> torch.cuda.Event:
        with self._lock:
            spare = self._spare[device.index]
            event = spare.pop() if spare else torch.cuda.Event(enable_timing=True)
        event.record(self._stream(device))
        return event

    def _stream(self, device: torch.device) -> torch.cuda.Stream:
        """The current one; torch makes an object of it anew each time, which takes longer than the rest."""
        key = (device.index, _raw_stream(device.index)) if _raw_stream else None
        stream = self._streams.get(key)
        if stream is None:
            stream = torch.cuda.current_stream(device)
            if key:
                self._streams[key] = stream
        return stream
