"""The rows of a benchmark as plain data for a page."""

from __future__ import annotations

import math
from collections.abc import Collection

from .answer import places
from .compare import baseline_of, within
from .row import Results, Row
from .words import exact, frames, lengths

SCHEMA = 1
Kept = Collection[tuple[tuple, str]]  # a row's place and its backend


def payload(
    results: Results,
    state: str,
    node: str | None = None,
    kept: Kept = (),
    answer: str = "",
    text: str = "",
) -> dict:
    """`state` is running, finished, interrupted or failed; `kept` are the rows that `auto` goes by from now on."""
    return {
        "schema": SCHEMA,
        "node": node,
        "state": state,
        "environment": results.environment,
        "baseline": results.baseline,
        "places": [_place(results, rows, kept) for rows in places(results)],
        "answer": answer,
        "text": text,
        "notes": list(results.notes),
    }


def _place(results: Results, rows: list[Row], kept: Kept) -> dict:
    first = rows[0]
    return {
        "title": title(first),
        "part": first.part,
        "model": first.model,
        "size": first.size,
        "frames": first.frames,
        "dtype": first.dtype,
        "heads": first.heads,
        "q_len": first.q_len,
        "kv_len": first.kv_len,
        "rows": [_row(results, row, (row.place, row.backend) in kept) for row in rows],
    }


def title(row: Row) -> str:
    """`self 82,992 tokens, 81 frames`."""
    tokens = f"{row.part} {lengths(row)} tokens" if lengths(row) else row.part
    return ", ".join(filter(None, (tokens, frames(row))))


def _row(results: Results, row: Row, kept: bool) -> dict:
    base, pair = baseline_of(results, row), within(results, row)
    return {
        "backend": row.backend,
        "active": row.active,
        "exact": exact(row),
        "ms": _finite(row.ms),
        "low": _finite(min(row.times, default=None)),
        "high": _finite(max(row.times, default=None)),
        "spread": _finite(row.spread),
        "rounds": len(row.times),
        "speedup": base.ms / row.ms if base and base.ms and row.ms else None,
        "verdict": "baseline" if row.backend == results.baseline else pair.words if pair else "",
        "tflops": _finite(row.tflops),
        "share": _finite(row.share),
        "error": _finite(row.error),
        "peak_gib": _finite(row.peak_gib),
        "reason": row.reason,
        "kept": kept,
    }


def _finite(value: float | None) -> float | None:
    """JSON has no word for infinity."""
    return value if value is not None and math.isfinite(value) else None
