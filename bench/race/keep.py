"""What of a benchmark `auto` goes by from now on."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from ...attention.backends import BACKENDS
from ...attention.call import Call
from ...attention.choose.measure.measurements import timing_of
from ...attention.choose.measure.timings import Timings
from ...attention.choose.measure.tuner import Measurement
from ...attention.choose.policy import Policy, eligible
from ...attention.environment import probe
from ..results.payload import Kept, title
from ..results.row import Results, Row
from ..results.words import listed
from .case import Case

EVERYTHING = Policy("auto", precision="allow approximate")  # all that `auto` may ever ask
UNEVEN = 0.2  # spread above which `auto` had better measure by itself
CLOSE = 1.1  # so close, the order may be another inside a model: there matrix products run between the calls


def keep(cases: list[Case], results: Results, timings_of: Callable[[str], Timings]) -> Kept:
    """Hand to `auto` the places that leave no doubt, and say so in the notes. `timings_of` gives those of a device."""
    kept: list[tuple[tuple, str]] = []
    left: dict[str, list[str]] = {}
    lost = False
    rows = {(row.place, row.backend): row for row in results.rows}
    for case in cases:
        asked = eligible(case.call, probe(), EVERYTHING)
        there = {
            backend.name: rows.get((case.row(backend).place, backend.name)) for backend in asked
        }
        found = {name: row for name, row in there.items() if row is not None}
        usable = [row for row in found.values() if _usable(row, case.call)]
        if not usable:
            continue
        if doubt := _doubt(there.keys() - found.keys(), usable):
            left.setdefault(doubt, []).append(title(usable[0]))
            continue
        kept += [(row.place, row.backend) for row in usable]
        lost |= not _written(timings_of(case.call.device), case.call, usable)
    results.notes += _told(kept, left, lost)
    return kept


def _usable(row: Row, call: Call) -> bool:
    """Whether `auto` itself would have used it."""
    limit = BACKENDS[row.backend].tolerance.get(call.dtype, math.inf)
    return bool(row.times) and not row.reason and (row.error is None or row.error <= limit)


def _doubt(missing: Collection[str], rows: Sequence[Row]) -> str:
    """Why `auto` had better measure this place by itself; times of one kind only can be compared."""
    if missing:
        names = sorted(missing)
        return f"{listed(names)} {'was' if len(names) == 1 else 'were'} not measured"
    uneven = [row.backend for row in rows if row.spread is None or row.spread > UNEVEN]
    if uneven:
        return f"times vary by more than {100 * UNEVEN:.0f} % ({', '.join(uneven)})"
    exact = [row for row in rows if BACKENDS[row.backend].exact]
    for group in (exact, rows):
        ranked = sorted(group, key=_time)
        close = [row.backend for row in ranked if _time(row) < CLOSE * _time(ranked[0])]
        if len(close) > 1:
            return f"{listed(close)} are within {100 * (CLOSE - 1):.0f} % of each other"
    return ""


def _time(row: Row) -> float:
    return row.ms or math.inf


def _written(known: Timings, call: Call, rows: Sequence[Row]) -> bool:
    """Whether they are on the disk too."""
    timings = {row.backend: timing_of(BACKENDS[row.backend], _measurement(row)) for row in rows}
    known.write(call, timings)
    return timings.items() <= Timings(known.path, known.machine).read(call).items()


def _measurement(row: Row) -> Measurement:
    return Measurement(row.backend, row.ms, row.first or row.ms, row.error)


def _told(kept: list[tuple[tuple, str]], left: dict[str, list[str]], lost: bool) -> list[str]:
    notes = []
    if kept:
        until = " until ComfyUI ends, since timings.json cannot be written (see the log)"
        names = ", ".join(dict.fromkeys(name for _, name in kept))
        notes.append(f"kept for auto of Attention Backend{until if lost else ''}: {names}")
    for doubt, places in left.items():
        notes.append(f"left for auto to measure by itself, since {doubt}: {'; '.join(places)}")
    return notes
