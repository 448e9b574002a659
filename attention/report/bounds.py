"""How much of a report is sent and drawn. What is beyond that is summarised, and the payload says so."""

from __future__ import annotations

import json
from dataclasses import dataclass

MOST_BYTES = 256 * 2**10  # of an event


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most of each list, and letters of a text; `steps` are those of all runs together."""

    rows: int = 120
    runs: int = 40
    steps: int = 4000
    sentences: int = 50
    reasons: int = 6
    letters: int = 400

    def halved(self) -> Bounds:
        rest = (self.sentences // 2, max(2, self.reasons // 2), max(40, self.letters // 2))
        return Bounds(self.rows // 2, max(1, self.runs // 2), self.steps // 2, *rest)


def bounded(payload: dict, most: int = MOST_BYTES) -> dict:
    """A payload of at most so many bytes as JSON; the same one where it is small enough.

    `left_out` tells how much of what is missing in it. The CSV of a report has every call.
    """
    bounds = Bounds()
    while True:
        made = _cut(payload, bounds)
        if _size(made) <= most:
            return made
        if not bounds.rows:
            return _bare(made)
        bounds = bounds.halved()


def _size(payload: dict) -> int:
    return len(json.dumps(payload, separators=(",", ":"), default=str))


def _cut(payload: dict, bounds: Bounds) -> dict:
    left = dict(payload.get("left_out") or {})
    runs = _runs(payload["runs"], bounds, left)
    rows = [_row(row, bounds, left) for row in _first(payload["rows"], bounds.rows, left, "rows")]
    cut = {**payload, "runs": runs, "rows": rows, "grid": _pointed(payload["grid"], len(rows))}
    for name in ("coverage", "notes"):
        given = _first(payload[name], bounds.sentences, left, "notes")
        cut[name] = [_text(each, bounds.letters) for each in given]
    fallbacks = _first(payload["fallbacks"], bounds.sentences, left, "fallbacks")
    cut["fallbacks"] = [_texts(each, bounds.letters) for each in fallbacks]
    past = _first(payload["account"]["past"], bounds.sentences, left, "past")
    cut["account"] = {**payload["account"], "past": [_texts(each, bounds.letters) for each in past]}
    names = dict(_first(list(payload["totals"].items()), bounds.sentences, left, "backends"))
    cut["totals"] = {_text(name, bounds.letters): calls for name, calls in names.items()}
    cut["requested"] = _text(payload["requested"], bounds.letters)
    if payload.get("failure"):
        cut["failure"] = _texts(payload["failure"], bounds.letters)
    return {**cut, "left_out": left} if left else cut


def _bare(payload: dict) -> dict:
    """The last resort: what other packs put in is larger than all that is ours."""
    grids = len(payload["grid"])
    left = {**(payload.get("left_out") or {}), **({"grids": grids} if grids else {})}
    return {**payload, "grid": [], "model": {}, "environment": {}, "left_out": left}


def _first(items: list, most: int, left: dict, what: str) -> list:
    if len(items) > most:
        left[what] = left.get(what, 0) + len(items) - most
    return items[:most]


def _runs(runs: list[dict], bounds: Bounds, left: dict) -> list[dict]:
    """The newest, each with as many seconds as there is room for."""
    older = runs[: -bounds.runs]
    if older:
        left["runs"] = left.get("runs", 0) + len(older)
        left["seconds"] = left.get("seconds", 0.0) + sum(run["seconds"] for run in older)
    shown = runs[-bounds.runs :]
    most = max(10, bounds.steps // max(1, len(shown)))
    return [_paced(run, most) for run in shown]


def _paced(run: dict, most: int) -> dict:
    seconds = run["step_seconds"]
    each = -(-len(seconds) // most)
    if each <= 1:
        return run
    parts = [seconds[first : first + each] for first in range(0, len(seconds), each)]
    means = [round(sum(part) / len(part), 4) for part in parts]
    stride, begun = run.get("stride", 1) * each, run.get("begun", len(seconds))
    return {**run, "step_seconds": means, "stride": stride, "begun": begun}


def _row(row: dict, bounds: Bounds, left: dict) -> dict:
    cut = _texts(row, bounds.letters)
    for name in ("reasons", "operators", "kernels"):
        given = _first(row[name], bounds.reasons, left, "reasons")
        cut[name] = [_text(each, bounds.letters) for each in given]
    return cut


def _pointed(grids: list[dict], rows: int) -> list[dict]:
    """-2 where a cell's row is left out."""
    if all(index < rows for grid in grids for line in grid["row"] for index in line):
        return grids
    lines = [
        [[index if index < rows else -2 for index in line] for line in grid["row"]]
        for grid in grids
    ]
    return [{**grid, "row": line} for grid, line in zip(grids, lines, strict=True)]


def _texts(table: dict, most: int) -> dict:
    return {name: _text(value, most) for name, value in table.items()}


def _text(value, most: int):
    return f"{value[:most]}..." if isinstance(value, str) and len(value) > most else value
