"""Runs the workflow benchmark as its command does, and keeps what it tells."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wanattn.bench.results.row import Results, Row

SMALL = ("--frames", "5", "--size", "64x64")
COMMON = {"against": None, "repeat": None, "seed": None, "settings": None}


class Told:
    """A Progress that remembers, and may act on what it is told."""

    def __init__(self, act: Callable[[str], None] | None = None) -> None:
        self.total, self.lines = 0.0, []
        self.units: list[float] = []
        self._act = act

    @property
    def done(self) -> float:
        return sum(self.units)

    def begin(self, total: float) -> None:
        self.total = total

    def advance(self, units: float, what: str) -> None:
        if units:
            self.units.append(units)
        self.lines.append(what)
        if self._act:
            self._act(what)


class Outcome(NamedTuple):
    results: Results
    told: Told
    error: BaseException | None

    def rows(self, part: str) -> dict[str, Row]:
        """By backend."""
        return {row.backend: row for row in self.results.rows if row.part == part}


def bench(address: str, path: Path, *arguments: str, told: Told | None = None, **common) -> Outcome:
    from wanattn.commands.bench.workflow.command import BENCHMARK

    parser = argparse.ArgumentParser()
    BENCHMARK.add_arguments(parser)
    options = parser.parse_args([address, "--workflow", str(path), *arguments])
    options.__dict__.update({**COMMON, **common})
    results, told = Results("workflow", {"started": "now"}), told or Told()
    try:
        BENCHMARK.measure(options, results, told)
    except (Exception, KeyboardInterrupt) as error:
        return Outcome(results, told, error)
    return Outcome(results, told, None)


def saved(folder: Path, graph: dict, name: str = "my workflow.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path


def when(words, act):
    """A Progress that acts once, the first time that it is told something with these words."""
    done = []

    def told(what):
        if words in what and not done:
            done.append(what)
            act()

    return Told(told)


def idle(server):
    return server.get("/queue") == {"queue_running": [], "queue_pending": []}


def times(outcome):
    return {backend: len(row.times) for backend, row in outcome.rows("run").items()}
