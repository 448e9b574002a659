"""What was tried, what failed, and how much memory it took."""

from __future__ import annotations

import statistics
import time
from collections import Counter

MIB = 2**20
WARM = 0.25  # of the time, before memory is expected to be flat
MOST_GROWTH = 48 * MIB  # between the second quarter of the time and the last one
JUDGED = 10 * 60.0  # seconds from which on growth tells: a server warms up for minutes
SHOWN = 40  # sentences


class Table:
    """Failures are told as they come, so that a soak that is stopped has told them too."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._tried: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._sentences: list[str] = []
        self._memory: list[tuple[float, int]] = []
        self.calls = 0

    def add(self, kind: str, failures: list[str]) -> None:
        self._tried[kind] += 1
        self._failed[kind] += bool(failures)
        for failure in failures:
            self._sentences.append(f"{kind}: {failure}")
            print(f"FAILED {kind}: {failure[:600]}", flush=True)

    def measure(self, resident: int) -> None:
        """Bytes that the long-lived server holds."""
        self._memory.append((time.monotonic() - self._began, resident))

    def growth(self) -> int:
        """Bytes by which the last quarter's median is above the second quarter's; 0 where too little was measured."""
        spent = time.monotonic() - self._began
        second = [held for at, held in self._memory if WARM <= at / spent < 2 * WARM]
        last = [held for at, held in self._memory if at / spent >= 1 - WARM]
        if not second or not last:
            return 0
        return round(statistics.median(last) - statistics.median(second))

    def conclude(self) -> None:
        if time.monotonic() - self._began < JUDGED:
            return
        grown = self.growth()
        told = [f"grew by {grown / MIB:.0f} MiB, needs at most {MOST_GROWTH // MIB}"]
        self.add("memory flat", told if grown > MOST_GROWTH else [])

    def text(self) -> str:
        minutes = (time.monotonic() - self._began) / 60
        lines = ["| tried | times | failed |", "|---|---:|---:|"]
        lines += [
            f"| {kind} | {self._tried[kind]:,} | {self._failed[kind]:,} |" for kind in self._tried
        ]
        lines.append(f"| all | {self._tried.total():,} | {self._failed.total():,} |")
        held = [held for _, held in self._memory] or [0]
        told = (
            f"{minutes:.1f} minutes, {self.calls:,} attention calls counted independently and equal to the reports; "
            f"memory of the server {held[0] / MIB:.0f} MiB at first, {held[-1] / MIB:.0f} at the end, "
            f"{self.growth() / MIB:+.0f} from the second quarter to the last."
        )
        return "\n".join([*lines, "", told, *self._sentences[:SHOWN]])

    @property
    def failed(self) -> bool:
        return bool(self._failed.total())
