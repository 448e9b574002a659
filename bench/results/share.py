"""A result that people can publish: what card, what torch, what sizes, what times, and nothing about them or their disk.

Everything in the file is named here; whatever else a result holds, such as notes, reasons and labels, stays out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from ...attention.backends import BACKENDS
from . import file
from .row import Results, Row

KIND = "wanattn shared result"
SCHEMA = 1
SUFFIXES = (".json",)
SHAREABLE = ("kernels", "model")  # the rows of a workflow are named after its nodes
VERSION = re.compile(r"[\w.+!-]{1,60}")
# Whatever does not read so stays out: a value of another kind could be a path or a name.
FACTS = {
    "gpu": re.compile(r"(NVIDIA|AMD|Intel|Apple|Tesla|Quadro|GeForce|Radeon)[\w .()+-]{0,72}"),
    "capability": re.compile(r"\d+\.\d+"),
    "memory_gib": None,
    "driver": VERSION,
    "torch": VERSION,
    "cuda": VERSION,
    "hip": VERSION,
    "cudnn": VERSION,
    "platform": re.compile(r"(Linux|Windows|Darwin) \w{1,10}"),
    "python": VERSION,
}
DATE = re.compile(r"\d{4}-\d\d-\d\d")
COLUMNS = ("model", "size", "frames", "part", "dtype", "backend", "heads", "q_len", "kv_len")
COUNTED = ("frames", "heads", "q_len", "kv_len")
MEASURED = ("ms", "tflops", "error", "peak_gib")
# Anything of a row that is not one of these words could be a name of somebody's file.
WORD = {
    "model": re.compile(r"14b|5b|"),
    "size": re.compile(r"\d+x\d+"),
    "part": re.compile(r"self|text|image|other|forward"),
    "dtype": re.compile(r"(b?float)\d+"),
}
HOST = (
    "host",
    "auto",
    "sub_quad",
    "split",
)  # names that are ours though no kernel of the pack bears them
Shared = dict[str, object]


def shared(results: Results) -> Shared:
    """ValueError with the reason where there is nothing that can be shared."""
    if results.benchmark not in SHAREABLE:
        raise ValueError(refusal(results.benchmark))
    rows = [_row(row) for row in results.rows if row.times and _is_plain(row)]
    if not rows:
        raise ValueError("no row with times of Wan's own sizes, so there is nothing to share")
    environment = results.environment
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "benchmark": results.benchmark,
        "date": _plain(str(environment.get("started") or "")[:10], DATE),
        "wanattn": _plain(environment.get("wanattn"), VERSION),
        "machine": {name: _plain(environment.get(name), kind) for name, kind in FACTS.items()},
        "packages": _packages(environment),
        "rows": rows,
    }


def refusal(benchmark: str) -> str:
    return f"bench {benchmark} names your own nodes, needs one of bench {' and '.join(SHAREABLE)}"


def write(results: Results, path: Path) -> None:
    file.replace(path, (json.dumps(shared(results), indent=1) + "\n").encode("utf-8"))


def read(path: Path) -> Shared:
    """ValueError with a sentence for what is not such a file, or says more than it may."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("kind") != KIND or data.get("schema") != SCHEMA:
        raise ValueError(f"{path.name} is not a {KIND} of schema {SCHEMA}")
    if extra := _extra(data):
        raise ValueError(
            f"{path.name} holds {', '.join(sorted(extra))}, which no shared result does"
        )
    return data


def _extra(data: Shared) -> set[str]:
    """The names of what is not known, or not of its kind."""
    machine, packages, rows = (data.get(name) for name in ("machine", "packages", "rows"))
    if not (isinstance(machine, dict) and isinstance(packages, dict) and isinstance(rows, list)):
        return {"no machine, packages and rows"}
    kinds = {"date": DATE, "wanattn": VERSION}
    found = set(data) - {"kind", "schema", "benchmark", "machine", "packages", "rows", *kinds}
    found |= {name for name, kind in kinds.items() if _odd(data.get(name), kind)}
    found |= {name for name in machine if name not in FACTS or _odd(machine[name], FACTS[name])}
    found |= {name for name in packages if _packages(packages).get(name) != packages[name]}
    found |= {"benchmark"} if data["benchmark"] not in SHAREABLE else set()
    return found.union(*map(_extra_of_row, rows))


def _odd(value: object, kind: re.Pattern[str] | None) -> bool:
    return value is not None and _plain(value, kind) is None


def _extra_of_row(row: Shared) -> set[str]:
    numbers = {*MEASURED, *COUNTED}
    found = set(row) - {*COLUMNS, *MEASURED}
    found |= {name for name in numbers if _odd(row.get(name), None)}
    found |= {name for name, kind in WORD.items() if _plain(row.get(name), kind) is None}
    return found | ({"backend"} if row.get("backend") not in (*BACKENDS, *HOST) else set())


def _row(row: Row) -> Shared:
    figures = {name: _rounded(getattr(row, name)) for name in MEASURED}
    return {**{name: getattr(row, name) for name in COLUMNS}, **figures}


def _rounded(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _is_plain(row: Row) -> bool:
    """Also of rows that were read from a file, which anybody may have written."""
    words = all(_plain(getattr(row, name), kind) is not None for name, kind in WORD.items())
    numbers = not any(_odd(getattr(row, name), None) for name in COUNTED)
    return words and numbers and row.backend in (*BACKENDS, *HOST)


def _packages(environment: Mapping[str, object]) -> dict[str, str]:
    """The kernels' packages by the names that pip knows them by, which machine.py put beside the facts."""
    projects = {
        project
        for backend in BACKENDS.values()
        for project in getattr(getattr(backend, "package", None), "projects", ())
    }
    return {
        name: str(version)
        for name in sorted(projects - {"torch"})
        if (version := _plain(environment.get(name), VERSION))
    }


def _plain(value: object, kind: re.Pattern[str] | None) -> object:
    """The value where it is of that kind, a number where the kind is None; else None."""
    if kind is None:
        return value if type(value) in (int, float) else None
    return value if isinstance(value, str) and kind.fullmatch(value) else None
