"""The calls of one patched model: bounded, safe to use from several threads, emptied for every new job."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..call import Call
from .record import Record, Sighting
from .stopwatch import Stopwatch

LIMIT = 100_000
TIMES_KEPT = 1000  # of the dropped calls of a row, for its median


@dataclass(slots=True)
class Run:
    """One sampler run. `seconds` and `step_starts` are in seconds since the run began."""

    number: int
    steps: int = 0
    state: str = "running"
    forwards: int = 0
    seconds: float = 0.0
    step_starts: dict[int, float] = field(default_factory=dict)
    peak_bytes: int | None = None
    mismatches: int = 0
    measuring: float = 0.0  # of its seconds, those that were spent on finding out what is fast
    # calls by requested, active, reason
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    # calls that did not come through the hook, by how, role and what ran, empty where that cannot be seen
    past: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    began: float = field(default_factory=time.perf_counter)

    @property
    def calls(self) -> int:
        return self.counts.total()

    def copy(self) -> Run:
        """As it is now: a run that goes on has taken the time until now."""
        parts = {"step_starts": dict(self.step_starts), "counts": self.counts.copy()}
        on = self.state == "running"
        seconds = time.perf_counter() - self.began if on else self.seconds
        return dataclasses.replace(self, **parts, past=self.past.copy(), seconds=seconds)

    def step_seconds(self) -> list[float]:
        edges = [*sorted(self.step_starts.values()), self.seconds]
        return [round(end - start, 4) for start, end in itertools.pairwise(edges)]


class Row(NamedTuple):
    """What the calls of one row of a report share."""

    call: Call
    requested: str
    active: str
    via: str = ""


@dataclass(slots=True)
class Tally:
    """Calls of one row: same facts, same request, same backend."""

    calls: int = 0
    milliseconds: float | None = None
    times: list[float] = field(default_factory=list)
    evidence: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    sighting: Sighting | None = None
    mismatch: bool = False

    def copy(self) -> Tally:
        sets = {"evidence": set(self.evidence), "reasons": set(self.reasons)}
        return dataclasses.replace(self, times=self.times[:], **sets)

    def add(self, record: Record) -> None:
        self.calls += 1
        self.evidence.add(record.evidence)
        self.sighting = record.sighting or self.sighting
        self.mismatch |= record.mismatch
        if record.reason:
            self.reasons.add(record.reason)
        if record.milliseconds is not None:
            self.milliseconds = (self.milliseconds or 0.0) + record.milliseconds
            self.times.append(record.milliseconds)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a recorder holds at one moment."""

    runs: tuple[Run, ...]
    calls: tuple[tuple[int, Record], ...]  # run number, call
    rows: dict[Row, Tally]
    dropped: int

    @property
    def counts(self) -> Counter[tuple[str, str, str]]:
        return sum((run.counts for run in self.runs), Counter())


class Recorder:
    """Keeps the newest `limit` calls of the current job; totals go on counting when calls are dropped.

    `listener` is told after every call; it has to be quick.
    """

    def __init__(self, limit: int = LIMIT, listener: Callable[[], None] | None = None) -> None:
        self.limit = limit
        self.listener = listener
        self.stopwatch = Stopwatch()
        self._lock = threading.Lock()
        self.reset(None)

    def reset(self, job: str | None) -> None:
        self.job = job
        self.runs: list[Run] = []
        self._calls: deque[tuple[int, Record]] = deque()
        self._dropped_rows: dict[Row, Tally] = {}
        self._dropped = 0

    @property
    def run(self) -> Run | None:
        return self.runs[-1] if self.runs else None

    def begin(self, job: str | None, steps: int = 0) -> Run:
        """Start a run. Runs of the same job (one queued prompt) are kept side by side."""
        with self._lock:
            if job is None or job != self.job:
                self.reset(job)
            self.runs.append(Run(len(self.runs) + 1, steps))
            return self.runs[-1]

    def end(self, run: Run, state: str) -> None:
        """Close a run: the device is done by now, so the last timings are read."""
        self.stopwatch.settle(wait=True)
        run.seconds = time.perf_counter() - run.began
        run.state = state

    def forward(self, step: int | None) -> None:
        run = self.run
        if run is None:
            return
        with self._lock:
            run.forwards += 1
            run.seconds = time.perf_counter() - run.began
            if step is not None:
                run.step_starts.setdefault(step, run.seconds)

    def add(self, record: Record) -> None:
        with self._lock:
            if not self.runs:
                self.runs.append(Run(1))
            run = self.runs[-1]
            run.counts[record.requested, record.active, record.reason] += 1
            run.mismatches += record.mismatch
            if record.via:
                run.past[record.via, record.call.role, record.active] += 1
            self._calls.append((run.number, record))
            if len(self._calls) > self.limit:
                self._drop()
        if self.listener:
            self.listener()

    def miss(self, how: str, role: str) -> None:
        """A module that calls attention ran without a call that can be seen."""
        with self._lock:
            if self.runs:
                self.runs[-1].past[how, role, ""] += 1

    def _drop(self) -> None:
        _, record = self._calls.popleft()
        self._dropped += 1
        del _tally(self._dropped_rows, record).times[:-TIMES_KEPT]

    def snapshot(self) -> Snapshot:
        self.stopwatch.settle()
        with self._lock:
            rows = {key: tally.copy() for key, tally in self._dropped_rows.items()}
            for _, record in self._calls:
                _tally(rows, record)
            runs = tuple(run.copy() for run in self.runs)
            return Snapshot(runs, tuple(self._calls), rows, self._dropped)


def _tally(rows: dict[Row, Tally], record: Record) -> Tally:
    key = Row(record.call, record.requested, record.active, record.via)
    tally = rows.setdefault(key, Tally())
    tally.add(record)
    return tally
