"""What is faster, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .row import Results, Row

STEADY = 0.02  # the largest spread and difference that let two times be called the same
TURNS = 0.01  # a smaller difference between backends that took turns is none
# Times that lie close together by chance: so often must a difference be their spread. With these, and the ends of the
# rows, equal backends are told apart in 3 % of pairs after two rounds and in about 1 % or less after more.
FEW_ROUNDS = {2: 3.0, 3: 1.5}
# Two runs of one command agree no better, by the table in docs/measured.md.
RUNS = {"kernels": 0.05}
OTHER_RUNS = 0.02
UNTOLD = ("started",)  # facts that always differ


@dataclass(frozen=True, slots=True)
class Pair:
    """`ratio` is the old time by the new one: above 1 the new one is faster.

    `verdict` is faster, slower, same or too noisy, and empty where a row has fewer than two times.
    """

    old: Row
    new: Row
    ratio: float
    verdict: str

    @property
    def words(self) -> str:
        if self.verdict == "faster":
            return f"{self.ratio:.2f}x faster"
        if self.verdict == "slower":
            return f"{1 / self.ratio:.2f}x slower"
        return {"": f"{self.ratio:.2f}x, measured once", "too noisy": "too noisy to tell"}.get(
            self.verdict, self.verdict
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """`only_old` and `only_new` are rows with times that the other results have none for."""

    pairs: tuple[Pair, ...]
    only_old: tuple[Row, ...]
    only_new: tuple[Row, ...]
    warnings: tuple[str, ...]


def judge(old: Row, new: Row, least: float = TURNS) -> Pair | None:
    """None where one has no times. A difference up to `least` or to the noise is none, nor one of times that overlap."""
    if not old.ms or not new.ms:
        return None
    ratio = old.ms / new.ms
    if old.spread is None or new.spread is None:
        return Pair(old, new, ratio, "")
    noise, difference = max(_noise(old), _noise(new)), max(ratio, 1 / ratio) - 1
    if _apart(old, new) and difference > max(noise, least):
        return Pair(old, new, ratio, "faster" if ratio > 1 else "slower")
    same = noise <= STEADY and difference <= max(least, STEADY)
    return Pair(old, new, ratio, "same" if same else "too noisy")


def _noise(row: Row) -> float:
    return (row.spread or 0.0) * FEW_ROUNDS.get(len(row.times), 1.0)


def _apart(old: Row, new: Row) -> bool:
    return old.ends[0] > new.ends[1] or new.ends[0] > old.ends[1]


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
        pair = judge(match, row, RUNS.get(new.benchmark, OTHER_RUNS)) if match else None
        if pair:
            pairs.append(pair)
            used.append(id(pair.old))
        else:
            only_new.append(row)
    only_old = [row for row in measured if id(row) not in used]
    return Comparison(tuple(pairs), tuple(only_old), tuple(only_new), tuple(_warnings(old, new)))


def _match(measured: Iterable[Row], row: Row) -> Row | None:
    """Of several, that with the same settings."""
    there = [old for old in measured if old.place == row.place]
    same = [old for old in there if old.backend == row.backend]
    if not same and len({old.backend for old in there}) == 1:
        same = there
    return next((old for old in same if old.settings == row.settings), same[0] if same else None)


def _warnings(old: Results, new: Results) -> list[str]:
    warnings = [
        f"{fact}: {_value(old, fact)} then, {_value(new, fact)} now"
        for fact in dict.fromkeys([*old.environment, *new.environment])
        if fact not in UNTOLD and _value(old, fact) != _value(new, fact)
    ]
    stopped = [name for name, results in (("old", old), ("new", new)) if not results.finished]
    return warnings + [f"the {name} benchmark was stopped early" for name in stopped]


def _value(results: Results, fact: str) -> str:
    value = results.environment.get(fact)
    return "none" if value is None or value == "" else str(value)


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
                "ratio": float(f"{pair.ratio:.4g}"),
                "verdict": pair.verdict,
            }
            for pair in comparison.pairs
        ],
        "only_old": [f"{row.backend} {row.part}" for row in comparison.only_old],
        "only_new": [f"{row.backend} {row.part}" for row in comparison.only_new],
        "warnings": list(comparison.warnings),
    }
