"""How a row's numbers and places are put into words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from ...attention.backends import BACKENDS
from .row import Row

PARTS = {
    "self": "self-attention",
    "text": "text attention",
    "image": "image attention",
    "forward": "a whole forward",
    "run": "the whole run",
}
MOST_LETTERS = 400  # of a sentence
SECONDS = 10_000.0  # milliseconds; longer times are told in seconds


def duration(ms: float) -> str:
    if ms >= SECONDS:
        return f"{_short(ms / 1000, 4)} s"
    return f"{_short(ms, 3)} ms"


def _short(value: float, digits: int) -> str:
    """That many digits, more where the whole part has more, and never an exponent."""
    whole = len(str(int(value))) if value >= 1 else 0
    return f"{value:.{max(0, digits - whole)}f}" if value >= 0.1 else f"{value:.4f}"


def against(new: float, old: float) -> str:
    """`246 against 407 ms`, with both units where they differ."""
    number, unit = duration(new).split(" ")
    other = duration(old)
    return (
        f"{number} against {other}"
        if other.endswith(f" {unit}")
        else f"{number} {unit} against {other}"
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def at_most(share: float) -> str:
    """Rounded up."""
    digits = 1 if share < 0.1 else 0
    return f"{math.ceil(share * 100 * 10**digits - 1e-9) / 10**digits:.{digits}f} %"


def error(value: float | None) -> str:
    if not value:
        return "" if value is None else "0"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+")


def off(benchmark: str) -> str:
    """What a row's `error` is called: a forward is set against the baseline's, a kernel's call against the right answer."""
    return "difference" if benchmark == "model" else "error"


def exact(row: Row) -> bool:
    """By its backend and by what that ran: a host may have been started with an approximate kernel."""
    rough = [name for name, backend in BACKENDS.items() if not backend.exact]
    named = f"{row.backend} {row.active}"  # such as `host attention_sage` or `auto self fa3_fp8, text cudnn`
    return not any(re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9_])", named) for name in rough)


def clip(row: Row) -> str:
    """`832x1216, 81 frames`, empty where neither is known."""
    return ", ".join(filter(None, (row.size, frames(row))))


def frames(row: Row) -> str:
    return f"{row.frames} {'frame' if row.frames == 1 else 'frames'}" if row.frames else ""


def lengths(row: Row) -> str:
    if not row.q_len:
        return ""
    keys = "" if row.kv_len in (None, row.q_len) else f" x {row.kv_len:,}"
    return f"{row.q_len:,}{keys}"


def where(row: Row) -> str:
    """`self-attention at 832x1216, 81 frames`."""
    part = PARTS.get(row.part, row.part)
    return f"{part} at {clip(row)}" if clip(row) else part


def listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def one_line(text: str) -> str:
    return " ".join(text.split())


def brief(text: str, most: int = MOST_LETTERS) -> str:
    """One line of a length that people read."""
    line = one_line(text[: 20 * most])
    return line if len(line) <= most else f"{line[:most].rstrip()} ..."


def printable(text: str) -> str:
    """Without what a font library or XML refuses: halves of characters and control characters."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in whole)
