"""Writes docs/results/README.md from the results beside it, which people add with `wanattn bench --share`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "results"
HEAD = """# Results

Measured by the people who have these cards, each file by `wanattn bench --share FILE`; CONTRIBUTING.md says how to add
one. Milliseconds of one call, or of one forward of the whole denoiser; the fastest exact one is bold, approximate ones
are in brackets. This table is written by `python tools/results_table.py`.

| card | system | torch | video | part | times | date |
|---|---|---|---|---|---|---|
"""


def load_pack():
    if "wanattn" not in sys.modules:
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
        spec = importlib.util.spec_from_file_location("wanattn", ROOT / "__init__.py")
        sys.modules["wanattn"] = pack = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pack)
    from wanattn.attention.backends import BACKENDS
    from wanattn.bench.results import share

    return share, {name for name, backend in BACKENDS.items() if not backend.exact}


def table(paths: Iterable[Path]) -> str:
    share, approximate = load_pack()
    lines = [line for path in sorted(paths) for line in _lines(share.read(path), approximate)]
    return HEAD + "".join(f"{line}\n" for line in sorted(lines))


def _lines(result: dict, approximate: set[str]) -> list[str]:
    machine = result["machine"]
    card = machine["gpu"] or f"CPU, {machine['platform']}"
    places: dict[tuple, list[dict]] = {}
    for row in result["rows"]:
        place = (row["model"], row["size"], row["frames"], row["dtype"], row["part"])
        places.setdefault(place, []).append(row)
    return [
        f"| {card} | {machine['platform']} | {machine['torch']} | {model} {size}, {frames} frames, {dtype} "
        f"| {part} | {_times(rows, approximate)} | {result['date']} |"
        for (model, size, frames, dtype, part), rows in places.items()
    ]


def _times(rows: list[dict], approximate: set[str]) -> str:
    ranked = sorted(rows, key=lambda row: row["ms"])
    best = next((row for row in ranked if row["backend"] not in approximate), None)
    return ", ".join(_time(row, row is best, row["backend"] in approximate) for row in ranked)


def _time(row: dict, best: bool, approximate: bool) -> str:
    text = f"{row['backend']} {row['ms']:g}"
    return f"**{text}**" if best else f"({text})" if approximate else text


if __name__ == "__main__":
    (FOLDER / "README.md").write_text(table(FOLDER.glob("*.json")), encoding="utf-8", newline="\n")
