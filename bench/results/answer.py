"""What to use on this machine, and what it gains: the few sentences that a benchmark is run for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ...attention.backends import BACKENDS, Kernel
from ...attention.choose.policy import EXACT_KERNELS
from .compare import Pair, baseline_of, judge
from .row import Results, Row
from .words import against, at_most, duration, error, exact, listed, off, percent, where

AUTO = {"flash", "efficient", "cudnn", "math", *EXACT_KERNELS}  # what it chooses from by default

STEADY = 0.02  # the most that two may differ by for one to take the other's place
LOOSE = 0.05  # what more rounds would make smaller
RUN = "run"  # the part of a workflow's rows that is all of it


def answer(results: Results) -> str:
    """Decided where the most time goes: the place whose fastest exact backend takes longest."""
    winners = [fastest for rows in _decisive(results) if (fastest := _fastest(rows)) is not None]
    if not winners:
        return " ".join([_nothing(results), *_doubts(results)])
    key = max(winners, key=lambda row: row.ms or 0)
    rows = [row for row in results.rows if row.place == key.place and _usable(row)]
    winner = _settled(results, key, rows)
    sentences = [_verdict(results, key, winner, rows), *_approximate(results, winner, rows)]
    return " ".join([*sentences, *_elsewhere(results, winner, winners), *_doubts(results)])


def _decisive(results: Results) -> list[list[Row]]:
    """The places that may decide; in a workflow the whole run, where one was timed, and no node of it."""
    found = places(results)
    runs = [rows for rows in found if rows[0].part == RUN and any(row.times for row in rows)]
    return runs if results.benchmark == "workflow" and runs else found


def places(results: Results) -> list[list[Row]]:
    """The rows of each place, places in the order in which they come first."""
    found: dict[tuple, list[Row]] = {}
    for row in results.rows:
        found.setdefault(row.place, []).append(row)
    return list(found.values())


def _usable(row: Row) -> bool:
    """One that was too wrong has a reason or an infinite error."""
    return bool(row.times) and not row.reason and (row.error is None or math.isfinite(row.error))


def _fastest(rows: Sequence[Row]) -> Row | None:
    candidates = [row for row in rows if _usable(row) and exact(row)]
    return min(candidates, key=lambda row: row.ms or 0, default=None)


def _nothing(results: Results) -> str:
    loose = [row for row in results.rows if _usable(row)]
    if not loose:
        return "Nothing could be measured; each reason is listed."
    best = min(loose, key=lambda row: row.ms or 0)
    return (
        f"Only approximate backends were measured: the shortest is {best.backend} "
        f"in {where(best)} ({_time(best)})."
    )


def _settled(results: Results, fastest: Row, rows: Sequence[Row]) -> Row:
    """The baseline where it cannot be told from the fastest, else one as fast that needs no package."""
    old = baseline_of(results, fastest)
    if old is not None and _level(fastest, old):
        return old
    close = [row for row in rows if exact(row) and _replaces(fastest, row, old)]
    return min([fastest, *close], key=lambda row: (bool(_packages(row)), row.ms))


def _replaces(fastest: Row, row: Row, old: Row | None) -> bool:
    """As fast, and as surely faster than the baseline."""
    pair, gain = judge(fastest, row), judge(old, row) if old else None
    beats = old is None or (gain is not None and gain.verdict == "faster")
    return pair is not None and pair.verdict == "same" and pair.within <= STEADY and beats


def _level(fastest: Row, row: Row) -> bool:
    """Not slower beyond noise; one that was measured once is never level with another."""
    pair = judge(fastest, row)
    return row is fastest or (pair is not None and pair.verdict == "same")


def _beside(winner: Row, rows: Sequence[Row]) -> str:
    """The exact backends that cannot be told from the winner, in words that follow its time."""
    pairs = [judge(winner, row) for row in rows if row is not winner and exact(row)]
    same = [pair for pair in pairs if pair and pair.verdict == "same"]
    if not same:
        return ""
    names = [pair.new.backend for pair in same]
    be = "is" if len(names) == 1 else "are"
    return f"; {listed(names)} {be} {_same(max(pair.within for pair in same))}"


def _same(within: float) -> str:
    more = ", more rounds would tell more" if within > LOOSE else ""
    return f"the same within {at_most(within)}{more}"


def _verdict(results: Results, fastest: Row, winner: Row, rows: Sequence[Row]) -> str:
    also = _beside(winner, rows)
    if winner.backend == results.baseline:
        alone = not any(row is not winner and exact(row) for row in rows)
        rest = (
            "no other exact backend was measured"
            if alone
            else "nothing exact is faster beyond noise"
        )
        return f"Stay with {winner.backend}: {rest} in {where(winner)} ({_time(winner)}{also})."
    old = baseline_of(results, winner)
    pair = judge(old, winner) if old else None
    if pair is None:
        time = f"{_time(winner)}{also}"
        return f"Fastest is {winner.backend} in {where(winner)} ({time}); {_unknown(results)}."
    if old is not None and not exact(old) and pair.verdict != "faster":
        return _beaten(pair, also)
    return f"{_gain(pair, also)}; {_needs(winner)}."


def _beaten(pair: Pair, also: str) -> str:
    """Where the baseline is approximate, no exact backend need be faster."""
    old, new = pair.old, pair.new
    words = {"slower": f"{1 / pair.ratio:.2f}x faster", "same": _same(pair.within)}
    return (
        f"Fastest of the exact backends is {new.backend} in {where(new)} ({_time(new)}{also}); {old.backend}, which is "
        f"approximate ({old.active or old.backend}), is {words.get(pair.verdict, 'measured once')} ({_time(old)})."
    )


def _gain(pair: Pair, also: str) -> str:
    """`also` names those that are as fast, after the times."""
    new, old = pair.new, pair.old
    place = where(new)
    times = against(new.ms or 0, old.ms or 0)
    if not pair.verdict:
        return (
            f"{new.backend} was {pair.ratio:.2f}x as fast as {old.backend} in {place} ({times}{also}), "
            "but measured once, which proves nothing"
        )
    facts = f"{times}, 95 % interval {pair.interval}{also}"
    return f"Use {new.backend}: {pair.words} than {old.backend} in {place} ({facts})"


def _time(row: Row) -> str:
    spread = f", spread {percent(row.spread)}" if row.spread is not None else ", measured once"
    return f"{duration(row.ms or 0)}{spread}"


def _unknown(results: Results) -> str:
    if not results.baseline:
        return "no baseline was measured, so there is no gain to tell"
    return f"the baseline {results.baseline} was not measured there, so there is no gain to tell"


def _packages(row: Row) -> list[str]:
    """Those that it or what it ran comes in; none for the kernels of torch and the functions of the host."""
    names = [row.backend, *re.findall(r"\w+", row.active)]
    kernels = (BACKENDS.get(name) for name in names)
    titles = (kernel.package.title for kernel in kernels if isinstance(kernel, Kernel))
    return list(dict.fromkeys(titles))


def _needs(row: Row) -> str:
    ran = f"it ran {row.active}, " if row.active and row.active != row.backend else ""
    tuning = f"choosing took {duration(row.tuning)} once, " if row.tuning else ""
    packages = listed(_packages(row)) if _packages(row) else ""
    return (
        f"{ran}{tuning}needs {packages}, which is installed"
        if packages
        else f"{ran}{tuning}nothing to install"
    )


def _approximate(results: Results, winner: Row, rows: Sequence[Row]) -> list[str]:
    """The fastest approximate one, where it beats the winner beyond noise."""
    loose = [row for row in rows if not exact(row) and row.backend != results.baseline]
    best = min(loose, key=lambda row: row.ms or 0, default=None)
    pair = judge(winner, best) if best else None
    if best is None or pair is None or pair.verdict != "faster":
        return []
    old = baseline_of(results, best) or winner
    wrong = f" ({off(results.benchmark)} {error(best.error)})" if best.error is not None else ""
    gain = (old.ms or 0) / (best.ms or 1)
    return [
        f"{best.backend} is approximate{wrong} and would be {gain:.2f}x faster than {old.backend}."
    ]


def _elsewhere(results: Results, winner: Row, winners: list[Row]) -> list[str]:
    """Where another backend than the recommended one wins beyond noise; nodes of a workflow are no choice."""
    if results.benchmark == "workflow":
        return []
    better: dict[str, list[Row]] = {}
    for row in winners:
        here = [r for r in results.rows if r.place == row.place and r.backend == winner.backend]
        used = next(filter(_usable, here), None)
        if row.place != winner.place and (used is None or not _level(row, used)):
            better.setdefault(row.backend, []).append(row)
    parts = [f"{name} in {_some(rows)}" for name, rows in better.items()]
    if not parts:
        return []
    known = "; auto finds that by itself" if better.keys() <= AUTO else ""
    return [f"Elsewhere another is faster: {'; '.join(parts)}{known}."]


def _some(rows: list[Row]) -> str:
    return where(rows[0]) + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")


def _doubts(results: Results) -> list[str]:
    doubts = []
    missing = sum(not row.times and not row.reason for row in results.rows)
    if not results.finished:
        rows = (
            f"{missing} {'row was' if missing == 1 else 'rows were'} not measured"
            if missing
            else "rows may be missing"
        )
        doubts.append(f"Stopped early: {rows}, so this may change.")
    if results.environment.get("gpu", "unknown") is None:
        doubts.append("Measured on a CPU: it says nothing about a GPU.")
    return doubts
