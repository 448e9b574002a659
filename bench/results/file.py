"""Results as a file, JSON or CSV by its suffix. Reading one back gives the same results."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ...attention import filename
from ...attention.patience import patiently
from . import csv, fields
from .row import Results

KIND = "wanattn benchmark"
SCHEMA = 1
SUFFIXES = (".csv", ".json")
FACT = (str, int, float, type(None))


def write(results: Results, path: Path) -> None:
    """Whole or not at all: an older file stays until the new one is complete."""
    text = (
        csv.write(results, SCHEMA)
        if _suffix(path, SUFFIXES) == ".csv"
        else json.dumps(plain(results), indent=1)
    )
    replace(path, text.encode("utf-8", "replace"))


def replace(path: Path, content: bytes) -> None:
    part = _part(path)
    try:
        part.write_bytes(content)
    except OSError as error:  # the disk may be full
        part.unlink(missing_ok=True)
        raise OSError(f"cannot write '{path}': {_words(error)}") from error
    try:
        patiently(os.replace, part, path.resolve())
    except OSError as error:  # a spreadsheet on Windows keeps other programs out
        raise OSError(
            f"cannot replace '{path}' ({_words(error)}); it is saved as '{part}'"
        ) from error


def _part(path: Path) -> Path:
    target = path.resolve()
    return target.with_name(target.name + ".part")


def read(path: Path) -> Results:
    """Raises ValueError with a sentence that names the file and what is wrong in it."""
    suffix = _suffix(path, SUFFIXES)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read '{path}': {_words(error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' is not a wanattn benchmark: byte {error.start} is not UTF-8"
        ) from error
    try:
        return csv.read(text, SCHEMA) if suffix == ".csv" else _results(_parsed(text))
    except ValueError as error:
        raise ValueError(f"'{path}': {error}") from error


def check_target(path: Path, option: str, suffixes: tuple[str, ...]) -> None:
    """Raises ValueError or OSError now where writing would fail later."""
    _suffix(path, suffixes, f"{option} ")
    if trouble := filename.trouble(path):
        raise ValueError(f"{option} '{path}': {trouble}")
    if path.is_dir():
        raise ValueError(f"{option} '{path}' is a folder, needs a file")
    if not path.parent.is_dir():
        raise ValueError(f"{option} '{path}': there is no folder '{path.parent}', make it first")
    part = _part(path)
    if part.exists() and part.stat().st_size:
        raise ValueError(
            f"{option} '{path}': '{part}' holds what an earlier run could not put in its place; "
            "move it away or delete it"
        )
    try:
        part.touch()
        part.unlink()
        if path.exists():
            path.open("ab").close()
    except OSError as error:
        words = filename.explained(error, part)
        raise OSError(f"{option} cannot write '{path}': {words}") from error


def _suffix(path: Path, suffixes: tuple[str, ...], option: str = "") -> str:
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise ValueError(f"{option}'{path}', needs a name that ends in {' or '.join(suffixes)}")
    return suffix


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def plain(results: Results) -> dict:
    """What the JSON file holds, schema 1."""
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "benchmark": results.benchmark,
        "environment": {name: fields.finite(fact) for name, fact in results.environment.items()},
        "baseline": results.baseline,
        "finished": results.finished,
        "notes": results.notes,
        "rows": [fields.plain(row) for row in results.rows],
        "diagnostics": results.diagnostics,
    }


def _parsed(text: str) -> dict:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON: line {error.lineno} column {error.colno}: {error.msg}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise ValueError(f"not JSON that can be read: {error}") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ValueError(f"not a {KIND}")
    schema = data.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ValueError(f"schema {schema!r}, needs a whole number")
    if schema > SCHEMA:
        raise ValueError(
            f"schema {schema}, this wanattn knows up to {SCHEMA}: update wanattn to read it"
        )
    return data


def _results(data: dict) -> Results:
    environment = _of(data, "environment", dict, {})
    for name, fact in environment.items():
        if not isinstance(fact, FACT):
            raise ValueError(f"environment {name}: {fact!r}, needs text or a number")
    return Results(
        benchmark=_of(data, "benchmark", str, None),
        environment=environment,
        baseline=_of(data, "baseline", str, ""),
        rows=[_row(number, values) for number, values in enumerate(_of(data, "rows", list, None))],
        notes=_all(_of(data, "notes", list, []), str, "notes"),
        diagnostics=_all(_of(data, "diagnostics", list, []), dict, "diagnostics"),
        finished=_of(data, "finished", bool, False),
    )


def _row(number: int, values: object):
    if not isinstance(values, dict):
        raise ValueError(f"row {number + 1} is {type(values).__name__}, needs an object")
    try:
        return fields.row_of(values)
    except ValueError as error:
        raise ValueError(f"row {number + 1}, {error}") from error


def _of(data: dict, name: str, kind: type, default):
    """ValueError unless it is of that kind; `default` None is for what must be there."""
    value = data.get(name, default)
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {type(value).__name__}, needs {KINDS[kind]}")
    return value


KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false"}


def _all(values: list, kind: type, name: str) -> list:
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(f"one of {name} is {type(value).__name__}, needs {KINDS[kind]}")
    return values
