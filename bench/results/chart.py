"""Results as bars: a group for each place with a scale of its own, what is fastest on top."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
import torch

from ...attention.report.picture import BACKGROUND, FOREGROUND, INCH, colours_of
from . import file, html, table
from .answer import places
from .compare import baseline_of, within
from .row import Results, Row
from .words import duration, exact, lengths, printable, where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html")
MOST_BARS = 80
CUT = 3  # times the baseline
WIDTH = 9.0  # inches, as are the next three
BAR = 0.28
GROUP = 0.55  # a place's title and the gap below it
LINE = 0.175
QUIET = "#8a8d93"


def save(results: Results, path: Path) -> None:
    """Raises ImportError without matplotlib."""
    suffix = path.suffix.lower()
    file.replace(path, _html(results) if suffix == ".html" else _bytes(results, "png"))


def image(results: Results) -> torch.Tensor:
    """[1, height, width, 3], values from 0 to 1. Raises ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _settings():
        canvas = FigureCanvasAgg(figure(results))
        canvas.draw()
    pixels = numpy.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.copy()).float().div(255).unsqueeze(0)


def _bytes(results: Results, form: str, words: bool = True) -> bytes:
    out = io.BytesIO()
    with _settings():
        figure(results, words).savefig(out, format=form, facecolor=BACKGROUND)
    return out.getvalue()


def _html(results: Results) -> bytes:
    drawn = _bytes(results, "svg", words=False).decode("utf-8")
    return html.html(results, drawn[drawn.index("<svg") :]).encode("utf-8", "replace")


@contextmanager
def _settings() -> Iterator[None]:
    """Text stays text in SVG; a glyph that the font lacks is a box, and no warning."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def figure(results: Results, words: bool = True) -> Figure:
    """With the headline and the answer above it, if `words`. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    groups, left_out = _groups(results)
    title = textwrap.wrap(table.headline(results), 125) if words else []
    answer = textwrap.wrap(table.answer(results), 125) if words else []
    foot = textwrap.wrap(" ".join(_footnotes(results, left_out)), 145)
    heights = [BAR * len(rows) + GROUP for rows in groups]
    head = LINE * (len(title) + len(answer)) + 0.3
    tail = LINE * len(foot) + 0.15
    height = head + sum(heights) + tail
    drawn = Figure(figsize=(WIDTH, height), dpi=INCH, facecolor=BACKGROUND)
    _write(drawn, 1 - 0.12 / height, title, QUIET, 8.5)
    _write(drawn, 1 - (0.2 + LINE * len(title)) / height, answer, FOREGROUND, 9)
    _write(drawn, (tail - 0.05) / height, foot, QUIET, 7.5)
    top = height - head
    for rows, tall in zip(groups, heights, strict=True):
        bottom = top - tall + 0.06
        place = drawn.add_axes((0.18, bottom / height, 0.54, (BAR * len(rows)) / height))
        _draw(place, results, rows)
        top -= tall
    return drawn


def _groups(results: Results) -> tuple[list[list[Row]], int]:
    """Each place's rows with times, fastest first; and how many rows found no room."""
    measured = [sorted(_measured(rows), key=lambda row: row.ms or 0) for rows in places(results)]
    longest = max((rows[-1].ms or 0 for rows in measured if rows), default=0)
    least = table.SMALL * longest if results.benchmark == "workflow" else 0
    groups, left_out = [], 0
    for rows in measured:
        room = MOST_BARS - sum(map(len, groups))
        if rows and len(rows) <= room and (rows[-1].ms or 0) >= least:
            groups.append(rows)
        else:
            left_out += len(rows)
    return groups, left_out


def _measured(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.times and all(map(math.isfinite, row.times))]


def _footnotes(results: Results, left_out: int) -> list[str]:
    measured = {row.backend for row in results.rows if row.times}
    absent = dict.fromkeys(row.backend for row in results.rows if row.backend not in measured)
    notes = (
        ["Medians; whiskers from the shortest to the longest time; > goes on."] if measured else []
    )
    rough = any(row.times and not exact(row) for row in results.rows)
    notes += ["Hatched: approximate."] if rough else []
    notes += [f"The dashed line is {results.baseline}."] if results.baseline in measured else []
    notes += [f"{left_out} rows are not drawn."] if left_out else []
    notes += [f"No times: {', '.join(absent)}."] if absent else []
    notes += [] if results.finished else ["Stopped early."]
    return notes if measured else ["Nothing was measured.", *notes]


def _write(drawn: Figure, top: float, lines: list[str], colour: str, size: float) -> None:
    words = printable("\n".join(lines))
    drawn.text(0.02, top, words, color=colour, size=size, va="top", parse_math=False)


def _draw(place: Axes, results: Results, rows: Sequence[Row]) -> None:
    times = [row.ms or 0 for row in rows]
    colours = colours_of(sorted({row.backend for row in results.rows}))
    limit = _limit(results, rows)
    bars = place.barh(range(len(rows)), times, color=[colours[row.backend] for row in rows])
    for bar, row in zip(bars, rows, strict=True):
        bar.set_hatch("" if exact(row) else "//")
        _whiskers(place, bar.get_y() + bar.get_height() / 2, row, limit)
    place.invert_yaxis()
    place.set_xlim(0, limit * 1.02)
    place.set_xticks([])
    names = [_cut(printable(row.backend), 20) for row in rows]
    place.set_yticks(range(len(rows)), labels=names, color=FOREGROUND, size=8)
    for label in place.get_yticklabels():
        label.set_parse_math(False)
    place.tick_params(length=0)
    place.set_facecolor(BACKGROUND)
    for side in place.spines.values():
        side.set_visible(False)
    _label(place, results, rows)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 2]}.."


def _limit(results: Results, rows: Sequence[Row]) -> float:
    """The end of the scale: one slow backend must not press all others to the edge."""
    other = baseline_of(results, rows[0]) or rows[0]
    return min(max(max(row.times) for row in rows), CUT * (other.ms or 0))


def _whiskers(place: Axes, height: float, row: Row, limit: float) -> None:
    if (row.ms or 0) > limit:
        place.plot([limit], [height], color=FOREGROUND, marker=">", markersize=5)
    elif len(row.times) > 1:
        ends = [min(row.times), max(row.times)]
        place.plot(ends, [height, height], color=FOREGROUND, linewidth=1.2, marker="|")


def _label(place: Axes, results: Results, rows: Sequence[Row]) -> None:
    first = rows[0]
    tokens = f"{lengths(first)} tokens" if lengths(first) else ""
    title = ", ".join(filter(None, (where(first), tokens, first.model, first.dtype)))
    style = {"color": FOREGROUND, "parse_math": False}
    place.set_title(_cut(printable(title), 110), size=9, loc="left", pad=4, **style)
    right = place.get_yaxis_transform()  # x as a share of the axes, y in bars
    for index, row in enumerate(rows):
        pair = within(results, row)
        words = "baseline" if row.backend == results.baseline else pair.words if pair else ""
        place.text(
            1.13,
            index,
            duration(row.ms or 0),
            size=8,
            va="center",
            ha="right",
            transform=right,
            **style,
        )
        place.text(1.16, index, words, size=8, va="center", transform=right, **style)
    baseline = baseline_of(results, first)
    if baseline:
        place.axvline(baseline.ms or 0, color=FOREGROUND, linewidth=0.8, linestyle="--", alpha=0.6)
