"""A report as a picture: the grid of each role and the table."""

from __future__ import annotations

import numpy
import torch

from .text import table

# Okabe and Ito's palette, told apart with any kind of colour vision; the title and the legend name them too.
COLOURS = {
    "cudnn": "#56b4e9",
    "flash": "#e69f00",
    "efficient": "#009e73",
    "math": "#d55e00",
    "host": "#999999",
}
OTHERS = ("#cc79a7", "#f0e442", "#0072b2", "#b3b3b3")
BACKGROUND, FOREGROUND, EMPTY = "#1e1f22", "#e6e6e6", "#333539"
INCH = 100  # pixels
MOST_ROWS = 60


def draw(payload: dict) -> torch.Tensor:
    """[1, height, width, 3], values from 0 to 1. Raises ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grids, lines = payload["grid"], _lines(payload)
    heights = [0.22 * len(lines) + 0.3, *(0.6 + 0.11 * min(grid["steps"], 40) for grid in grids)]
    width = max(9.0, 0.085 * max(map(len, lines)))
    figure = Figure(figsize=(width, sum(heights)), dpi=INCH, facecolor=BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    places = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    _write(places[0], lines)
    for place, grid in zip(places[1:], grids, strict=True):
        _draw_grid(place, grid, payload["rows"])
    figure.tight_layout()
    canvas.draw()
    pixels = numpy.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.copy()).float().div(255).unsqueeze(0)


def _lines(payload: dict) -> list[str]:
    shares = ", ".join(f"{name} {calls}" for name, calls in payload["totals"].items())
    headline = f"asked {payload['requested']}, ran {shares} of {payload['calls']} calls"
    reasons = [
        f"! {f['calls']} calls ran {f['active']}: {f['reason']}" for f in payload["fallbacks"]
    ]
    rows = payload["rows"]
    more = [f"and {len(rows) - MOST_ROWS} more rows"] if len(rows) > MOST_ROWS else []
    return [headline, *reasons[:MOST_ROWS], "", *table(rows[:MOST_ROWS]), *more]


def _write(place, lines: list[str]) -> None:
    place.axis("off")
    text = _printable("\n".join(lines))
    place.text(0, 1, text, family="monospace", size=8, color=FOREGROUND, va="top", parse_math=False)


def _draw_grid(place, grid: dict, rows: list[dict]) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    active = [[rows[cell]["active"] if cell >= 0 else "" for cell in line] for line in grid["row"]]
    names = sorted({name for line in active for name in line} - {""})
    colours = colours_of(names)
    numbers = [[names.index(name) + 1 if name else 0 for name in line] for line in active]
    palette = ListedColormap([EMPTY, *colours.values()])
    place.imshow(
        numbers, cmap=palette, vmin=0, vmax=len(names), aspect="auto", interpolation="none"
    )
    title = _printable(f"{grid['role']}: {', '.join(names)}")
    place.set_title(title, color=FOREGROUND, size=9, loc="left", parse_math=False)
    place.set_xlabel("block", color=FOREGROUND, size=8)
    place.set_ylabel("step", color=FOREGROUND, size=8)
    place.tick_params(colors=FOREGROUND, labelsize=7)
    key = [Patch(color=colour, label=_printable(name)) for name, colour in colours.items()]
    legend = place.legend(handles=key, fontsize=7, loc="upper right", ncols=len(key))
    for label in legend.get_texts():
        label.set_parse_math(False)


def _printable(text: str) -> str:
    """Without the halves of characters that a font library refuses."""
    return text.encode("utf-8", "replace").decode()


def colours_of(names: list[str]) -> dict[str, str]:
    """A colour for each backend; those without one of their own share the rest in order."""
    unknown = [name for name in names if name not in COLOURS]
    spare = {name: OTHERS[index % len(OTHERS)] for index, name in enumerate(unknown)}
    return {name: COLOURS.get(name) or spare[name] for name in names}


def write_out(text: str) -> torch.Tensor:
    """Plain text as an image of [1, height, width, 3], for when there is nothing to draw or nothing to draw with."""
    from PIL import Image, ImageDraw

    width, height = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), text)[2:]
    image = Image.new("RGB", (int(width) + 32, int(height) + 32), BACKGROUND)
    ImageDraw.Draw(image).multiline_text((16, 16), text, fill=FOREGROUND)
    return torch.from_numpy(numpy.asarray(image).copy()).float().div(255).unsqueeze(0)
