"""Results as CSV: one line a row, with the environment repeated in each. The diagnostics are left to JSON.

`finished`, `baseline` and `notes` (one a line of the first row's cell) are those of the whole benchmark.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator

from . import fields
from .row import Results, Row

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what begins so
WHOLE = ("schema", "baseline", "finished", "notes")
FIELDS = tuple(field.name for field in dataclasses.fields(Row) if field.name != "times")
COLUMNS = (*FIELDS, *fields.COMPUTED, "times", *WHOLE)
TAKEN = "environment "  # before a fact that has the name of another column


def write(results: Results, schema: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    facts = {_column(name): fact for name, fact in results.environment.items()}
    writer.writerow([*COLUMNS, *map(_guarded, facts)])
    notes = "\n".join(" ".join(note.split()) for note in results.notes)
    for number, row in enumerate(results.rows):
        values = fields.plain(row)
        values["times"] = " ".join(map(repr, row.times))
        values |= {"schema": schema, "baseline": results.baseline}
        values |= {
            "finished": "yes" if results.finished else "no",
            "notes": "" if number else notes,
        }
        line = [*(values[name] for name in COLUMNS), *facts.values()]
        writer.writerow([_guarded(value) for value in line])
    return out.getvalue()


def _column(fact: str) -> str:
    return TAKEN + fact if fact in COLUMNS else fact


def _guarded(value):
    """Text that begins like a formula gets an apostrophe, as a spreadsheet itself writes it."""
    dangerous = isinstance(value, str) and value.lstrip("'").startswith(FORMULA)
    return f"'{value}" if dangerous else value


def _bare(value: str) -> str:
    guarded = value.startswith("'") and value.lstrip("'").startswith(FORMULA)
    return value[1:] if guarded else value


def read(text: str, schema: int) -> Results:
    """ValueError names the line and the column."""
    lines = _lines(text)
    _, header = next(lines, (0, []))
    _check(header)
    results: Results | None = None
    for number, line in lines:
        if len(line) != len(header):
            raise ValueError(f"line {number} has {len(line)} cells, needs {len(header)}")
        values = dict(zip(header, map(_bare, line), strict=True))
        try:
            fields.check_schema(values["schema"], schema)
        except ValueError as error:
            raise ValueError(f"line {number}: schema {error}") from None
        try:
            row = fields.record(Row, values)
        except ValueError as error:
            raise ValueError(f"line {number}, column {error}") from error
        results = results or _results(values, header)
        results.rows.append(row)
    if results is None:
        raise ValueError("no rows")
    return results


def _check(header: list[str]) -> None:
    needed = ("benchmark", "backend", "part", "times", "schema")
    missing = next((name for name in needed if name not in header), None)
    if missing:
        raise ValueError(
            f"line 1 has no column {missing}, needs those of a wanattn benchmark, separated by commas"
        )
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"line 1 has the column '{twice}' twice")


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each line that has anything in a cell with its number, counted as an editor does."""
    reader = csv.reader(io.StringIO(text, newline=""))
    while True:
        number = reader.line_num + 1
        try:
            line = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"line {number} is not CSV: {error}") from error
        if line is None:
            return
        if any(line):
            yield number, [*map(_bare, line)] if number == 1 else line


def _results(values: dict[str, str], header: list[str]) -> Results:
    facts: dict[str, str | int | float | None] = {}
    for name in header:
        if name and name not in COLUMNS:
            fact = name[len(TAKEN) :] if name.removeprefix(TAKEN) in COLUMNS else name
            facts[fact] = _fact(fact, values[name])
    notes = values.get("notes", "").splitlines()
    finished = values.get("finished") == "yes"
    baseline = values.get("baseline", "")
    return Results(values["benchmark"], facts, baseline, notes=notes, finished=finished)


def _fact(name: str, text: str) -> str | float | None:
    """Versions such as 13.0 stay text; only sizes are numbers."""
    try:
        return float(text) if name.endswith("_gib") and text else text or None
    except ValueError:
        return text
