"""What is faster, by how much, and how sure that is: one statistic for every two rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

from .row import Results, Row
from .words import at_most, brief

DRAWS = 1000  # of the bootstrap
OUTSIDE = DRAWS // 40  # of them lie beyond either end of the interval
# Few times lie close together by chance: Student's quantile for 2, 4, 6 ... degrees of freedom, over the normal one;
# of two times a fifth more than his 4.30, since the two rows seldom vary alike.
STUDENT = [t / 1.96 for t in (5.20, 2.78, 2.45, 2.31, 2.23, 2.18, 2.14, 2.12, 2.10)]
LEAST = 0.01  # a smaller difference is worth no change
# What two runs of one command differ by in 95 of 100 rows, by the table in docs/measured.md.
RUNS = {"kernels": 0.05}
OTHER_RUNS = 0.02
MOST_LETTERS = 100  # of a fact
UNTOLD = ("started",)  # facts that always differ


@dataclass(frozen=True, slots=True)
class Pair:
    """`ratio` is the old time by the new one, above 1 the new one is faster; `low` and `high` enclose it at 95 %.

    `verdict` is faster, slower or same, and empty where a row has fewer than two times: then nothing encloses it.
    """

    old: Row
    new: Row
    ratio: float
    low: float
    high: float
    verdict: str

    @property
    def within(self) -> float:
        """The smallest share by which the two times differ at most, as far as can be told."""
        return max(self.high, 1 / self.low) - 1

    @property
    def words(self) -> str:
        if self.verdict == "faster":
            return f"{self.ratio:.2f}x faster"
        if self.verdict == "slower":
            return f"{1 / self.ratio:.2f}x slower"
        if self.verdict == "same":
            return f"same within {at_most(self.within)}"
        return f"{self.ratio:.2f}x, measured once"

    @property
    def interval(self) -> str:
        """`1.62 to 1.68`, of the factor that `words` name; empty where there is none."""
        ends = (1 / self.high, 1 / self.low) if self.verdict == "slower" else (self.low, self.high)
        return "{:.2f} to {:.2f}".format(*ends) if self.verdict else ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`only_old` and `only_new` are rows with times that the other results have none for."""

    pairs: tuple[Pair, ...]
    only_old: tuple[Row, ...]
    only_new: tuple[Row, ...]
    warnings: tuple[str, ...]


def judge(old: Row, new: Row, apart: float = 0.0) -> Pair | None:
    """None where one has no times, or one that is none. `apart` is what the two differ by at 95 % for not having taken turns, as a share.

    The interval is that of a bootstrap of both medians, widened for few times. Where the two are equally fast, it tells
    them apart in 5 % of all cases at most.
    """
    if not old.ms or not new.ms or not all(0 < time < math.inf for time in old.times + new.times):
        return None
    ratio = old.ms / new.ms
    if min(len(old.times), len(new.times)) < 2:
        return Pair(old, new, ratio, ratio, ratio, "")
    below, above = (
        math.hypot(side, math.log1p(apart)) for side in _sides(tuple(old.times), tuple(new.times))
    )
    low, high = ratio * math.exp(-below), ratio * math.exp(above)
    told = (low > 1 or high < 1) and max(ratio, 1 / ratio) > 1 + LEAST
    verdict = ("faster" if ratio > 1 else "slower") if told else "same"
    return Pair(old, new, ratio, low, high, verdict)


@functools.lru_cache(maxsize=1024)
def _sides(old: tuple[float, ...], new: tuple[float, ...]) -> tuple[float, float]:
    """How far the logarithm of the ratio of the medians may lie below and above what was found."""
    drawn = _drawn(old, 0) - _drawn(new, 1)
    low, high = numpy.sort(drawn)[[OUTSIDE, -1 - OUTSIDE]]
    fewest = min(len(old), len(new))
    widening = STUDENT[min(fewest, len(STUDENT) + 1) - 2]
    return max(0.0, -low) * widening, max(0.0, high) * widening


def _drawn(times: tuple[float, ...], seed: int) -> numpy.ndarray:
    """Logarithms of medians of times drawn from these, less that of their own; as many times vary less than more do."""
    count = len(times)
    drawn = numpy.sort(numpy.asarray(times)[_picks(count, seed)], axis=1)
    medians = (drawn[:, (count - 1) // 2] + drawn[:, count // 2]) / 2
    return numpy.log(medians / numpy.median(times)) * math.sqrt(count / (count - 1))


@functools.lru_cache(maxsize=64)
def _picks(count: int, seed: int) -> numpy.ndarray:
    return numpy.random.default_rng(seed).integers(0, count, (DRAWS, count))


def drift(times: Sequence[float]) -> float:
    """By what share the later half of the rounds took longer or shorter than the earlier half."""
    half = len(times) // 2
    if not half:
        return 0.0
    early, late = numpy.median(times[:half]), numpy.median(times[-half:])
    return float(max(early, late) / min(early, late)) - 1


def baseline_of(results: Results, row: Row) -> Row | None:
    """The row that this one is set against: the baseline in the same place, if it has times."""
    beside = (other for other in results.rows if other.place == row.place and other.times)
    return next((other for other in beside if other.backend == results.baseline), None)


def within(results: Results, row: Row) -> Pair | None:
    """Against the baseline of the same results; None for the baseline itself and where there is none."""
    old = baseline_of(results, row)
    return judge(old, row) if old and row.backend != results.baseline else None


def verdicts(old: Results, new: Results) -> Comparison:
    """Rows of the same place and backend; where the old place has one other backend only, against that one."""
    measured = [row for row in old.rows if row.times]
    pairs, only_new, used = [], [], []
    for row in new.rows:
        if not row.times:
            continue
        match = _match(measured, row)
        pair = judge(match, row, _apart(match, row)) if match else None
        if pair:
            pairs.append(pair)
            used.append(id(pair.old))
        else:
            only_new.append(row)
    only_old = [row for row in measured if id(row) not in used]
    return Comparison(tuple(pairs), tuple(only_old), tuple(only_new), tuple(_warnings(old, new)))


def _apart(old: Row, new: Row) -> float:
    """Two runs differ as two runs of one command do, and by what each of them drifted itself."""
    usual = RUNS.get(new.benchmark, OTHER_RUNS)
    return math.hypot(usual, drift(old.times), drift(new.times))


def _match(measured: Iterable[Row], row: Row) -> Row | None:
    """Of several, that with the same settings."""
    there = [old for old in measured if old.place == row.place]
    same = [old for old in there if old.backend == row.backend]
    if not same and len({old.backend for old in there}) == 1:
        same = there
    return next((old for old in same if old.settings == row.settings), same[0] if same else None)


def _warnings(old: Results, new: Results) -> list[str]:
    warnings = [
        f"{brief(fact, MOST_LETTERS)}: {_value(old, fact)} then, {_value(new, fact)} now"
        for fact in dict.fromkeys([*old.environment, *new.environment])
        if fact not in UNTOLD and _value(old, fact) != _value(new, fact)
    ]
    stopped = [name for name, results in (("old", old), ("new", new)) if not results.finished]
    return warnings + [f"the {name} benchmark was stopped early" for name in stopped]


def _value(results: Results, fact: str) -> str:
    value = results.environment.get(fact)
    return "none" if value is None or value == "" else brief(str(value), MOST_LETTERS)


def plain(comparison: Comparison) -> dict:
    """For JSON."""
    return {
        "pairs": [
            {
                "backend": pair.new.backend,
                "old_backend": pair.old.backend,
                "model": pair.new.model,
                "size": pair.new.size,
                "frames": pair.new.frames,
                "part": pair.new.part,
                "old_ms": pair.old.ms,
                "new_ms": pair.new.ms,
                **{name: float(f"{getattr(pair, name):.4g}") for name in ("ratio", "low", "high")},
                "verdict": pair.verdict,
            }
            for pair in comparison.pairs
        ],
        "only_old": [f"{row.backend} {row.part}" for row in comparison.only_old],
        "only_new": [f"{row.backend} {row.part}" for row in comparison.only_new],
        "warnings": list(comparison.warnings),
    }
