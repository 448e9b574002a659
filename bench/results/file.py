"""Results as a file, JSON or CSV by its suffix. Reading one back gives the same results."""

from __future__ import annotations

import json
from pathlib import Path

from ...attention import disk, filename
from . import csv, fields, words
from .row import Results

KIND = "wanattn benchmark"
SCHEMA = 1
SUFFIXES = (".csv", ".json")


def write(results: Results, path: Path) -> None:
    """Whole or not at all: an older file stays until the new one is complete."""
    text = (
        csv.write(results, SCHEMA)
        if _suffix(path, SUFFIXES) == ".csv"
        else json.dumps(plain(results), indent=1)
    )
    replace(path, text.encode("utf-8", "replace"))


def replace(path: Path, content: bytes) -> None:
    try:
        disk.write(path, content, keep=True)
    except disk.NotReplaced as error:  # a spreadsheet on Windows keeps other programs out
        raise OSError(
            f"cannot replace '{path}' ({_words(error.__cause__)}); it is {error}"
        ) from error
    except OSError as error:  # the disk may be full
        raise OSError(f"cannot write '{path}': {_words(error)}") from error


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
        return csv.read(text, SCHEMA) if suffix == ".csv" else _parsed(text)
    except ValueError as error:
        raise ValueError(words.brief(f"'{path}': {error}")) from error


def check_target(path: Path, option: str, suffixes: tuple[str, ...]) -> None:
    """Raises ValueError or OSError now where writing would fail later."""
    _suffix(path, suffixes, f"{option} ")
    if trouble := filename.trouble(path):
        raise ValueError(f"{option} '{path}': {trouble}")
    if path.is_dir():
        raise ValueError(f"{option} '{path}' is a folder, needs a file")
    if not path.parent.is_dir():
        raise ValueError(f"{option} '{path}': there is no folder '{path.parent}', make it first")
    part = disk.spare(path)
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


def _words(error: BaseException | None) -> str:
    return getattr(error, "strerror", None) or str(error)


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


def _parsed(text: str) -> Results:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"not JSON: {place}: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise ValueError(f"not JSON that can be read: {error}") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ValueError(f"not a {KIND}")
    try:
        fields.check_schema(data.get("schema"), SCHEMA)
    except ValueError as error:
        raise ValueError(f"schema {error}") from None
    return fields.record(Results, {"environment": {}, **data})
