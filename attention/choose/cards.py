"""What is known of graphics cards: figures of cards.json, each with its source and date."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """What is known about a card from one source. `figures` are by backend, or in words where that is not known.

    `unit` is TFLOP/s or x, of which more is better, or ms or s; `by` is ours or published. `install` is how to get what
    a figure is of, where that is not what the kernel's own line installs.
    """

    card: str
    names: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    of: str = ""
    by: str = ""
    source: str = ""
    date: str = ""
    install: Mapping[str, str] = field(default_factory=dict)

    def gain(self, name: str, over: str) -> float:
        """How many times as fast `name` was as `over`."""
        ratio = self.figures[name] / self.figures[over]
        return ratio if self.unit in ("TFLOP/s", "x") else 1 / ratio

    def fastest(self, among: Iterable[str]) -> str | None:
        known = [name for name in among if name in self.figures]
        return max(known, key=lambda name: self.gain(name, known[0]), default=None)

    @property
    def where(self) -> str:
        """A source that names no card, but what it computes, is said to."""
        return f"elsewhere, on {self.card}" if self.card.startswith("a card") else "elsewhere"

    def __str__(self) -> str:
        unit = "x" if self.unit == "x" else f" {self.unit}"
        figures = ", ".join(f"{name} {figure:g}{unit}" for name, figure in self.figures.items())
        return f"{figures} ({self.of}; {self.by}: {self.source}, {self.date})"


@functools.cache
def lines() -> tuple[Line, ...]:
    text = Path(__file__).with_name("cards.json").read_text(encoding="utf-8")
    return tuple(Line(**{**line, "names": tuple(line["names"])}) for line in json.loads(text))


# Sold under another card's name with less of it: a laptop's, one held to less power, China's, a slice of one.
LESSER = re.compile(r"\bLaptop\b|\bMobile\b|\bMax-Q\b|\bMIG\b|\b\d{4} D\b")


def of_card(card: str) -> list[Line]:
    """By the name that torch or the system gives it."""
    if LESSER.search(card):
        return []
    return [line for line in lines() if any(re.search(rf"\b{name}\b", card) for name in line.names)]
