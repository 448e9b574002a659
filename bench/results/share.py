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
FACTS = (
    "gpu",
    "capability",
    "memory_gib",
    "driver",
    "torch",
    "cuda",
    "hip",
    "cudnn",
    "platform",
    "python",
)
COLUMNS = ("model", "size", "frames", "part", "dtype", "backend", "heads", "q_len", "kv_len")
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
MOST_LETTERS = 80
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
        "date": str(environment.get("started") or "")[:10],
        "wanattn": environment.get("wanattn"),
        "machine": {name: _short(environment.get(name)) for name in FACTS},
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
    extra = set(data) - {
        "kind",
        "schema",
        "benchmark",
        "date",
        "wanattn",
        "machine",
        "packages",
        "rows",
    }
    extra |= set(data["machine"]) - set(FACTS)
    extra |= {name for row in data["rows"] for name in set(row) - {*COLUMNS, *MEASURED}}
    if extra:
        raise ValueError(
            f"{path.name} holds {', '.join(sorted(extra))}, which no shared result does"
        )
    return data


def _row(row: Row) -> Shared:
    figures = {name: _rounded(getattr(row, name)) for name in MEASURED}
    return {**{name: getattr(row, name) for name in COLUMNS}, **figures}


def _rounded(value: float | None) -> float | None:
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def _is_plain(row: Row) -> bool:
    words = all(pattern.fullmatch(getattr(row, name)) for name, pattern in WORD.items())
    return words and row.backend in (*BACKENDS, *HOST)


def _packages(environment: Mapping[str, object]) -> dict[str, str]:
    """The kernels' packages by the names that pip knows them by, which machine.py put beside the facts."""
    projects = {
        project
        for backend in BACKENDS.values()
        for project in getattr(getattr(backend, "package", None), "projects", ())
    }
    return {
        name: str(_short(environment[name]))
        for name in sorted(projects & set(environment))
        if name != "torch"
    }


def _short(value: object) -> object:
    return value[:MOST_LETTERS] if isinstance(value, str) else value
