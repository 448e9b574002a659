"""Results as Markdown tables that line up in a terminal too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .answer import answer
from .compare import Comparison, Pair, within
from .row import Results, Row
from .words import (
    MOST_LETTERS,
    brief,
    clip,
    duration,
    error,
    exact,
    lengths,
    listed,
    off,
    one_line,
    percent,
    printable,
)

__all__ = ["answer", "compared", "text"]

SMALL = 0.01  # of the longest part of a clip: shorter parts, such as a loader that is cached, are left out
FACTS = {  # in the headline, by the words before them
    "torch": "torch",
    "cuda": "CUDA",
    "hip": "ROCm",
    "cudnn": "cuDNN",
    "driver": "driver",
    "comfyui": "ComfyUI",
    "wanattn": "wanattn",
    "platform": "",
}


WORDS = ("clip", "part", "backend", "settings", "ran", "now is", "not usable", "fact", "value")


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of words are aligned to the left, those of numbers to the right."""

    title: str
    heads: list[str]
    lines: list[list[str]]

    def is_words(self, column: int) -> bool:
        return self.heads[column] in WORDS

    def markdown(self) -> str:
        safe = [
            [printable(one_line(cell)).replace("|", "\\|") for cell in line]
            for line in [self.heads, *self.lines]
        ]
        widths = [max(3, *map(len, column)) for column in zip(*safe, strict=True)]
        words = [self.is_words(column) for column in range(len(widths))]
        sides = [str.ljust if left else str.rjust for left in words]
        lines = [
            [side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)]
            for line in safe
        ]
        rule = [
            "-" * (width - (not left)) + ":" * (not left)
            for width, left in zip(widths, words, strict=True)
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def text(results: Results) -> str:
    """What a terminal shows and an issue takes: the headline, the tables, what could not run, the answer."""
    blocks = [headline(results)]
    blocks += [f"### {table.title}\n\n{table.markdown()}" for table in tables(results)]
    sentences = [f"- {sentence}" for sentence in remarks(results)]
    return "\n\n".join(
        [*blocks, *(["\n".join(sentences)] if sentences else []), f"**{answer(results)}**"]
    )


def tables(results: Results) -> list[Table]:
    """One for each clip."""
    clips = ((rows, split(rows)[0]) for rows in _clips(results))
    return [_table(results, _title(rows), shown) for rows, shown in clips if shown]


def remarks(results: Results) -> list[str]:
    """What could not run, what is left out, and the notes."""
    small = [row for rows in _clips(results) for row in split(rows)[1]]
    return [*_reasons(results), *_left_out(small), *map(one_line, results.notes)]


def headline(results: Results) -> str:
    known = results.environment
    facts = [f"{word} {known[name]}".strip() for name, word in FACTS.items() if known.get(name)]
    day = str(known.get("started") or "")[:10]
    facts = [str(known.get("gpu") or "CPU"), *facts, *([day] if day else [])]
    return one_line(f"wanattn bench {results.benchmark} on {', '.join(facts)}")


def _clips(results: Results) -> list[list[Row]]:
    found: dict[tuple, list[Row]] = {}
    for row in results.rows:
        found.setdefault((row.model, row.size, row.frames, row.dtype), []).append(row)
    return list(found.values())


def _title(rows: Sequence[Row]) -> str:
    row = rows[0]
    heads = {row.heads for row in rows if row.heads}
    head = f"{heads.pop()} heads" if len(heads) == 1 else ""
    labels = {row.settings for row in rows}
    label = labels.pop() if len(labels) == 1 else ""
    facts = ", ".join(filter(None, (row.model, clip(row), row.dtype, head)))
    return one_line(f"{facts or 'Measured'}{f': {label}' if label else ''}")


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Those worth a line, each part's fastest first, and those of parts that take next to no time."""
    longest: dict[tuple, float] = {}
    for row in rows:
        longest[row.place] = max(longest.get(row.place, 0), row.ms or 0)
    least = SMALL * max(longest.values(), default=0) if rows[0].benchmark == "workflow" else 0
    measured = [row for row in rows if row.times]
    order = list(longest)
    measured.sort(key=lambda row: (order.index(row.place), row.ms))
    shown = [row for row in measured if longest[row.place] >= least]
    return shown, [row for row in measured if longest[row.place] < least]


def _table(results: Results, title: str, rows: Sequence[Row]) -> Table:
    """Without the columns that no row has anything in, and with each part named once."""
    heads = [name.format(**_names(results)) for name in COLUMNS]
    lines = [[column(results, row) for column in COLUMNS.values()] for row in rows]
    kept = [index for index in range(len(heads)) if any(line[index] for line in lines)]
    return Table(
        title, [heads[i] for i in kept], once([[line[i] for i in kept] for line in lines], 1)
    )


def _names(results: Results) -> dict[str, str]:
    """A kernel's memory is what its call takes on top of its tensors, elsewhere it is all there is at the peak."""
    memory = "GiB" if results.benchmark == "kernels" else "peak GiB"
    baseline = results.baseline or "baseline"
    return {"baseline": baseline, "error": off(results.benchmark), "memory": memory}


def once(lines: list[list[str]], columns: int) -> list[list[str]]:
    """Without what the first columns repeat from the line above."""
    above = [[""] * columns, *(line[:columns] for line in lines)]
    return [
        [
            "" if line[:column] == over[:column] and line[column] == over[column] else line[column]
            for column in range(columns)
        ]
        + line[columns:]
        for over, line in zip(above, lines, strict=False)
    ]


def _name(row: Row) -> str:
    return row.backend if exact(row) else f"{row.backend} (approximate)"


def _part(row: Row) -> str:
    return f"{row.part} {lengths(row)}".strip()


def _labels(results: Results) -> int:
    return len({row.settings for row in results.rows})


def _speedup(results: Results, row: Row) -> str:
    if row.backend == results.baseline:
        return "baseline"
    pair = within(results, row)
    return pair.words if pair else ""


def _interval(results: Results, row: Row) -> str:
    pair = within(results, row)
    return pair.interval if pair else ""


def _number(value: float | None, form: str = ".3g") -> str:
    return "" if value is None else format(value, form)


COLUMNS: dict[str, Callable[[Results, Row], str]] = {
    "part": lambda results, row: _part(row),
    "backend": lambda results, row: _name(row),
    "settings": lambda results, row: row.settings if _labels(results) > 1 else "",
    "ran": lambda results, row: row.active if row.active != row.backend else "",
    "time": lambda results, row: duration(row.ms) if row.ms else "",
    "spread": lambda results, row: "" if row.spread is None else percent(row.spread),
    "vs {baseline}": _speedup,
    "95 %": _interval,
    "TFLOP/s": lambda results, row: _number(row.tflops),
    "of matmul": lambda results, row: "" if row.share is None else percent(row.share),
    "{error}": lambda results, row: error(row.error),
    "first": lambda results, row: duration(row.first) if row.first else "",
    "choosing": lambda results, row: duration(row.tuning) if row.tuning else "",
    "{memory}": lambda results, row: _number(row.peak_gib, ".2f"),
    "not usable": lambda results, row: row.reason,
}


def _reasons(results: Results) -> list[str]:
    """One sentence for each backend and reason, with the places counted; those without a time only."""
    places = len({row.place for row in results.rows})
    found: dict[tuple[str, str], set[tuple]] = {}
    for row in results.rows:
        if not row.times:
            reason = one_line(row.reason) or "not measured"
            found.setdefault((row.backend, reason), set()).add(row.place)
    return [
        f"{backend}: {reason} ({_count(len(where), places)})"
        for (backend, reason), where in found.items()
    ]


def _count(some: int, places: int) -> str:
    if some == places:
        return "all places" if places > 1 else "the only place"
    return f"{some} of {places} places"


def _left_out(hidden: Sequence[Row]) -> list[str]:
    parts = list(dict.fromkeys(row.part for row in hidden))
    if not parts:
        return []
    return [f"{listed(parts)}: each below 1 % of the longest, left out of the tables"]


def compared(comparison: Comparison, name: str) -> str:
    """`name` is the old results' file."""
    lines = [_change(pair) for pair in comparison.pairs]
    heads = ["clip", "part", "backend", "then", "now", "now is", "95 %"]
    body = "No row of it is of the same place as one measured now."
    blocks = [
        f"### Against {name}",
        Table("", heads, once(lines, 2)).markdown() if lines else body,
    ]
    sentences = [*_tally(comparison), *(f"Different: {words}" for words in comparison.warnings)]
    sentences += _only(f"Only in {name}", comparison.only_old)
    sentences += _only("Only measured now", comparison.only_new)
    listing = "\n".join(f"- {printable(brief(sentence, MOST_LETTERS))}" for sentence in sentences)
    return "\n\n".join([*blocks, *([listing] if listing else [])])


def _change(pair: Pair) -> list[str]:
    old, new = pair.old, pair.new
    names = new.backend if old.backend == new.backend else f"{new.backend}, then {old.backend}"
    times = [duration(row.ms or 0) for row in (old, new)]
    clips = ", ".join(filter(None, (new.model, clip(new), new.dtype)))
    return [clips, _part(new), names, *times, pair.words, pair.interval]


def _tally(comparison: Comparison) -> list[str]:
    verdicts = [pair.verdict or "measured once" for pair in comparison.pairs]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts)]
    return [", ".join(counts)] if counts else []


def _only(where: str, rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    names = [
        ", ".join(filter(None, (f"{row.backend} in {row.part}", row.model, clip(row), row.dtype)))
        for row in rows[:5]
    ]
    more = [f"{len(rows) - 5} more"] if len(rows) > 5 else []
    return [
        f"{where}: {len(rows)} {'row' if len(rows) == 1 else 'rows'}: {'; '.join(names + more)}"
    ]
