"""From a recorder's snapshot to the payload that the page, the JSON file and the text all read."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from ..record.ledger import Cells, Row, Tally
from ..record.recorder import Run, Snapshot
from .devices import devices_of

SCHEMA = 1


def payload_of(
    snapshot: Snapshot,
    environment: dict,
    *,
    node: str | None = None,
    model: dict | None = None,
    coverage: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dict:
    """Plain data, schema 1. Milliseconds are device time where the device can be timed, else None."""
    rows = [_row(key, tally) for key, tally in snapshot.rows.items()]
    order = sorted(range(len(rows)), key=lambda index: -(rows[index]["milliseconds_total"] or 0))
    keys = list(snapshot.rows)
    index = {keys[position]: place for place, position in enumerate(order)}
    counts = snapshot.counts
    devices = (
        [] if snapshot.hidden else devices_of(rows, peaks_of(snapshot))
    )  # of all rows or of none
    payload = {
        "schema": SCHEMA,
        "node": node,
        "state": snapshot.runs[-1].state if snapshot.runs else "idle",
        "environment": environment,
        "model": model or {},
        "requested": ", ".join(dict.fromkeys(requested for requested, _, _ in counts)),
        "totals": totals_of(counts),
        "calls": counts.total(),
        "dropped": snapshot.dropped,
        "mismatches": snapshot.mismatches,
        "fallbacks": _fallbacks(counts),
        "runs": [_run(run) for run in snapshot.runs],
        "rows": [rows[position] for position in order],
        **({"devices": devices} if devices else {}),
        "grid": _grid(snapshot, index),
        "account": account_of(snapshot),
        "coverage": list(coverage),
        "notes": list(notes),
    }
    left_out = _left_out(snapshot)
    return {**payload, "left_out": left_out} if left_out else payload


def _left_out(snapshot: Snapshot) -> dict[str, float]:
    earlier = snapshot.earlier
    runs = {"runs": earlier.number, "seconds": round(earlier.seconds, 4)} if earlier else {}
    return {**runs, **({"rows": snapshot.hidden} if snapshot.hidden else {})}


def account_of(snapshot: Snapshot) -> dict:
    """How many attention calls the model made, how many came through the host's hook, and what took the rest."""
    past = snapshot.past
    unseen = sum(calls for (_, _, ran), calls in past.items() if not ran)
    calls = snapshot.counts.total() + unseen
    rest = [
        {"calls": count, "role": role, "how": how, "ran": ran}
        for (how, role, ran), count in past.most_common()
    ]
    return {"calls": calls, "hooked": calls - past.total(), "past": rest}


def peaks_of(snapshot: Snapshot) -> dict[str, int]:
    """The most memory that each device held in any of the runs, in bytes."""
    found: Counter[str] = Counter()
    for run in snapshot.all_runs:
        found |= Counter(run.peaks)
    return dict(found)


def totals_of(counts: Counter) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for (_, active, _), calls in counts.items():
        totals[active] += calls
    return dict(totals.most_common())


def _fallbacks(counts: Counter) -> list[dict]:
    return [
        {"requested": requested, "active": active, "reason": reason, "calls": calls}
        for (requested, active, reason), calls in counts.most_common()
        if reason
    ]


def _run(run: Run) -> dict:
    return {
        "run": run.number,
        "state": run.state,
        "steps": run.steps,
        "forwards": run.forwards,
        "calls": run.calls,
        "seconds": round(run.seconds, 4),
        "step_seconds": run.step_seconds(),
        "peak_gib": round(max(run.peaks.values()) / 2**30, 2) if run.peaks else None,
    }


def _row(key: Row, tally: Tally) -> dict:
    call, requested, active, via = key
    median = statistics.median(tally.times) if tally.times else None
    return {
        "role": call.role,
        "batch": call.batch,
        "heads": call.heads,
        "q_len": call.q_len,
        "kv_len": call.kv_len,
        "head_dim": call.head_dim,
        "dtype": call.dtype_name,
        "mask": call.mask,
        "device": call.device,
        "requested": requested,
        "active": active,
        "evidence": ", ".join(sorted(tally.evidence)),
        "calls": tally.calls,
        "milliseconds": rounded(median),
        "milliseconds_total": rounded(tally.milliseconds),
        "tflops": rounded(call.flops / median / 1e9) if median else None,
        "reasons": sorted(tally.reasons),
        "mismatch": tally.mismatch,
        "via": via,
        "protected": call.protected,
        "operators": list(tally.sighting.operators) if tally.sighting else [],
        "kernels": list(tally.sighting.kernels) if tally.sighting else [],
    }


def _grid(snapshot: Snapshot, index: dict[Row, int]) -> list[dict]:
    """The newest run as blocks by steps for each role."""
    cells = snapshot.cells
    if not snapshot.runs or cells.run != snapshot.runs[-1].number:
        return []
    return [
        _role_grid(
            role,
            cells,
            {at: (index.get(row, -2), one.milliseconds) for at, (row, one) in place.items()},
        )
        for role, place in cells.roles.items()
    ]


def _role_grid(
    role: str, cells: Cells, place: dict[tuple[int, int], tuple[int, float | None]]
) -> dict:
    lines = 1 + max(line for line, _ in place)
    blocks = 1 + max(block for _, block in place)
    nothing = (-1, None)
    found = [
        [place.get((line, block), nothing) for block in range(blocks)] for line in range(lines)
    ]
    grid = {
        "role": role,
        "run": cells.run,
        "blocks": blocks,
        "steps": lines,
        "row": [[cell[0] for cell in line] for line in found],
        "ms": [[rounded(cell[1]) for cell in line] for line in found],
    }
    return {**grid, "stride": cells.stride} if cells.stride > 1 else grid


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
