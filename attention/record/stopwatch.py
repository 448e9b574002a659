"""Times calls on the device they run on, without making the host wait for it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque

import torch

from .record import Record

Pair = tuple[torch.cuda.Event, torch.cuda.Event]
Start = float | tuple[Pair, torch.cuda.Stream] | None


_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)


class Stopwatch:
    """CUDA calls are timed with events that are read later, CPU calls with the clock, others not at all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[tuple[int, int] | None, torch.cuda.Stream] = {}
        self._spare: dict[int | None, list[Pair]] = defaultdict(list)
        self._waiting: deque[tuple[Record, Pair, int | None]] = deque()

    def start(self, device: torch.device) -> Start:
        kind = device.type
        if kind == "cuda":
            pair, stream = self._pair(device.index), self._stream(device)
            pair[0].record(stream)
            return pair, stream
        return time.perf_counter() if kind == "cpu" else None

    def stop(self, start: Start, device: torch.device, record: Record) -> None:
        if isinstance(start, float):
            record.milliseconds = (time.perf_counter() - start) * 1e3
        elif isinstance(start, tuple):
            pair, stream = start
            pair[1].record(stream)
            self._waiting.append((record, pair, device.index))

    @property
    def waiting(self) -> bool:
        """Whether the device has still to pass some call."""
        return bool(self._waiting)

    def settle(self, wait: bool = False) -> None:
        """Read the events that the device has passed; `wait` reads all of them, once the work is done."""
        with self._lock:
            while self._waiting:
                record, pair, index = self._waiting[0]
                if wait:
                    pair[1].synchronize()
                elif not pair[1].query():
                    return
                record.milliseconds = pair[0].elapsed_time(pair[1])
                self._spare[index].append(pair)
                self._waiting.popleft()

    def _pair(self, index: int | None) -> Pair:
        """Taken and given back in one step each, which no other thread can come between."""
        try:
            return self._spare[index].pop()
        except IndexError:
            return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def _stream(self, device: torch.device) -> torch.cuda.Stream:
        """The current one; torch makes an object of it anew each time, which takes longer than the rest."""
        key = (device.index, _raw_stream(device.index)) if _raw_stream else None
        stream = self._streams.get(key)
        if stream is None:
            stream = torch.cuda.current_stream(device)
            if key:
                self._streams[key] = stream
        return stream
