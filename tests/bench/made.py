"""Made-up results to compare, show and save: what a benchmark could have found."""

from __future__ import annotations

from wanattn.bench.results.row import Results, Row

FACTS = {
    "started": "2026-11-22T23:31:49+00:00",
    "wanattn": "0.1.0",
    "comfyui": None,
    "torch": "2.11.0+cu130",
    "cuda": "13.0",
    "gpu": "NVIDIA H100 80GB HBM3",
    "memory_gib": 79.2,
    "fa3-fwd": "0.0.3",
}


def row(backend="flash", ms=None, *, spread=0.004, rounds=3, **facts) -> Row:
    """A row of self-attention at 81 frames; `ms` is its median, None for none."""
    known = {"part": "self", "model": "14b", "size": "832x1216", "frames": 81, "dtype": "bfloat16"}
    known |= {"heads": 40, "q_len": 82992, "kv_len": 82992}
    if ms is not None:
        half = ms * spread / 2
        known["times"] = [ms, ms - half, ms + half][:rounds]
    return Row("kernels", backend, **known | facts)


def results(*rows: Row, baseline="flash", finished=True, **facts) -> Results:
    return Results(
        rows[0].benchmark if rows else "kernels",
        {**FACTS, **facts},
        baseline,
        list(rows),
        finished=finished,
    )
