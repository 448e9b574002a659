"""What the calls of a job come to, kept up as they arrive, so that telling it takes no longer the more there were."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..call import Call
from .record import Record, Sighting

TIMES_KEPT = 10_000  # of one row, for its median
MOST_CELLS = 8_000  # of the picture of a run, all roles together
MOST_BLOCKS = 1_000


class Row(NamedTuple):
    """What the calls of one row of a report share."""

    call: Call
    requested: str
    active: str
    via: str = ""


@dataclass(slots=True)
class Tally:
    """Calls of one row: same facts, same request, same backend. `times` are a fair sample of all, in no order."""

    calls: int = 0
    milliseconds: float | None = None
    times: list[float] = field(default_factory=list)
    evidence: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    sighting: Sighting | None = None
    mismatch: bool = False

    def copy(self) -> Tally:
        self.times.sort()  # quick where most of it was sorted before
        sets = {"evidence": set(self.evidence), "reasons": set(self.reasons)}
        return dataclasses.replace(self, times=self.times[:], **sets)

    def add(self, record: Record) -> None:
        self.calls += 1
        self.evidence.add(record.evidence)
        self.sighting = record.sighting or self.sighting
        self.mismatch |= record.mismatch
        if record.reason:
            self.reasons.add(record.reason)

    def time(self, milliseconds: float) -> None:
        self.milliseconds = (self.milliseconds or 0.0) + milliseconds
        self.times.append(milliseconds)
        if len(self.times) > 2 * TIMES_KEPT:
            self.times.sort()
            del self.times[::2]  # of a sorted list: the median stays


@dataclass(slots=True)
class Cells:
    """The newest run as a picture: for each role, line and block the last call, one that fell back before the others.

    A line is `stride` steps; it doubles when there are too many cells.
    """

    run: int = 0
    stride: int = 1
    roles: dict[str, dict[tuple[int, int], tuple[Row, Record]]] = field(default_factory=dict)
    last: int = 0  # step
    blocks: int = 0

    def copy(self) -> Cells:
        return dataclasses.replace(self, roles={role: dict(at) for role, at in self.roles.items()})

    def add(self, row: Row, record: Record) -> None:
        if record.step is None or record.block is None or record.block >= MOST_BLOCKS:
            return
        self.last = max(self.last, record.step)
        place = self.roles.setdefault(record.call.role, {})
        self.blocks = max(self.blocks, record.block + 1)
        _put(place, (record.step // self.stride, record.block), row, record)
        while self._area() > MOST_CELLS and self.stride <= self.last:
            self._widen()

    def _area(self) -> int:
        return (self.last // self.stride + 1) * self.blocks * len(self.roles)

    def _widen(self) -> None:
        self.stride *= 2
        for role, place in self.roles.items():
            merged: dict[tuple[int, int], tuple[Row, Record]] = {}
            for (line, block), (row, record) in sorted(place.items(), key=lambda item: item[0]):
                _put(merged, (line // 2, block), row, record)
            self.roles[role] = merged


def _put(place: dict, where: tuple[int, int], row: Row, record: Record) -> None:
    known = place.get(where)
    if known is None or bool(record.reason) >= bool(known[1].reason):
        place[where] = (row, record)


class Ledger:
    """Not safe to use from several threads: its recorder holds a lock."""

    def __init__(self) -> None:
        self.rows: dict[Row, Tally] = {}
        self.cells = Cells()
        self.entered = 0
        self._untimed: list[tuple[Tally, Record]] = []

    def enter(self, calls: Iterable[tuple[int, Record]], waiting: bool) -> None:
        """Add calls, each with the number of its run; `waiting` is whether some times are still to come."""
        self._take_times(waiting)
        for run, record in calls:
            self.entered += 1
            row = Row(record.call, record.requested, record.active, record.via)
            tally = self.rows.get(row)
            if tally is None:
                tally = self.rows[row] = Tally()
            tally.add(record)
            if record.milliseconds is not None:
                tally.time(record.milliseconds)
            elif waiting:
                self._untimed.append((tally, record))
            if run != self.cells.run:
                self.cells = Cells(run)
            self.cells.add(row, record)

    def _take_times(self, waiting: bool) -> None:
        late, self._untimed = self._untimed, []
        for tally, record in late:
            if record.milliseconds is not None:
                tally.time(record.milliseconds)
            elif waiting:
                self._untimed.append((tally, record))

    def copied(self, most: int | None) -> dict[Row, Tally]:
        """The rows that took the most time, all of them without `most`."""
        items = self.rows.items()
        if most is not None and len(items) > most:
            items = heapq.nlargest(most, items, key=_weight)
        return {row: tally.copy() for row, tally in items}


def _weight(item: tuple[Row, Tally]) -> tuple[float, int]:
    return item[1].milliseconds or 0.0, item[1].calls
