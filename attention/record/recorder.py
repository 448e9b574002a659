"""The calls of one patched model: bounded, safe to use from several threads, emptied for every new job."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .ledger import Cells, Ledger, Row, Tally
from .record import Record
from .stopwatch import Stopwatch

LIMIT = 100_000
SHOWN_ROWS = 120  # of a glance
SHOWN_RUNS = 40


@dataclass(slots=True)
class Run:
    """One sampler run. `seconds` and `step_starts` are in seconds since the run began, `peaks` bytes by device."""

    number: int
    steps: int = 0
    state: str = "running"
    forwards: int = 0
    seconds: float = 0.0
    step_starts: dict[int, float] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
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
        parts["peaks"] = dict(self.peaks)
        on = self.state == "running"
        seconds = time.perf_counter() - self.began if on else self.seconds
        return dataclasses.replace(self, **parts, past=self.past.copy(), seconds=seconds)

    def absorb(self, run: Run) -> None:
        """Come to what both come to; `number` counts them."""
        self.number += 1
        self.forwards += run.forwards
        self.seconds += run.seconds
        self.mismatches += run.mismatches
        self.counts.update(run.counts)
        self.past.update(run.past)
        self.peaks = dict(Counter(self.peaks) | Counter(run.peaks))

    def step_seconds(self) -> list[float]:
        edges = [*sorted(self.step_starts.values()), self.seconds]
        return [round(end - start, 4) for start, end in itertools.pairwise(edges)]


@dataclass(frozen=True)
class Snapshot:
    """What a recorder holds at one moment. `earlier` is what the runs before `runs` come to; `hidden` counts the rows
    that are not in `rows`."""

    runs: tuple[Run, ...]
    calls: tuple[tuple[int, Record], ...]  # run number, call
    rows: dict[Row, Tally]
    dropped: int
    cells: Cells = field(default_factory=Cells)
    earlier: Run | None = None
    hidden: int = 0

    @functools.cached_property
    def counts(self) -> Counter[tuple[str, str, str]]:
        return self.summed("counts")

    @functools.cached_property
    def past(self) -> Counter[tuple[str, str, str]]:
        return self.summed("past")

    @property
    def mismatches(self) -> int:
        return sum(run.mismatches for run in self.all_runs)

    @property
    def all_runs(self) -> tuple[Run, ...]:
        return self.runs if self.earlier is None else (self.earlier, *self.runs)

    def summed(self, what: str) -> Counter[tuple[str, str, str]]:
        total: Counter[tuple[str, str, str]] = Counter()
        for run in self.all_runs:
            total.update(getattr(run, what))
        return total


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
        self._dropped = 0
        self._ledger = Ledger()
        self._earlier = Run(0, state="over")  # those that a glance leaves out, as one

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
            self._enter()  # once a forward, so that no look has much to do
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
        if self._ledger.entered <= self._dropped:  # else the oldest is in it already
            self._enter()
        self._calls.popleft()
        self._dropped += 1

    def _enter(self) -> None:
        """Bring the ledger up to date."""
        new = self._dropped + len(self._calls) - self._ledger.entered
        calls = list(itertools.islice(reversed(self._calls), new))
        self._ledger.enter(reversed(calls), self.stopwatch.waiting)

    def snapshot(self) -> Snapshot:
        """All of it."""
        self.stopwatch.settle()
        with self._lock:
            self._enter()
            runs = tuple(run.copy() for run in self.runs)
            rows, cells = self._ledger.copied(None), self._ledger.cells.copy()
            return Snapshot(runs, tuple(self._calls), rows, self._dropped, cells)

    def glance(self) -> Snapshot:
        """What can be shown at once, in a time that does not grow: no single calls, and what is left out as a number."""
        self.stopwatch.settle()
        with self._lock:
            self._enter()
            for run in self.runs[self._earlier.number : -SHOWN_RUNS]:
                self._earlier.absorb(run)
            runs = tuple(run.copy() for run in self.runs[self._earlier.number :])
            rows, cells = self._ledger.copied(SHOWN_ROWS), self._ledger.cells.copy()
            hidden = len(self._ledger.rows) - len(rows)
            earlier = self._earlier.copy() if self._earlier.number else None
            return Snapshot(runs, (), rows, self._dropped, cells, earlier, hidden)
