"""From a recorder's snapshot to the payload that the page, the JSON file and the text all read."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from ..record.recorder import Row, Run, Snapshot, Tally
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
    index = {key: order.index(position) for position, key in enumerate(snapshot.rows)}
    counts = snapshot.counts
    devices = devices_of(rows, peaks_of(snapshot))
    return {
        "schema": SCHEMA,
        "node": node,
        "state": snapshot.runs[-1].state if snapshot.runs else "idle",
        "environment": environment,
        "model": model or {},
        "requested": ", ".join(dict.fromkeys(requested for requested, _, _ in counts)),
        "totals": totals_of(counts),
        "calls": counts.total(),
        "dropped": snapshot.dropped,
        "mismatches": sum(run.mismatches for run in snapshot.runs),
        "fallbacks": _fallbacks(counts),
        "runs": [_run(run) for run in snapshot.runs],
        "rows": [rows[position] for position in order],
        **({"devices": devices} if devices else {}),
        "grid": _grid(snapshot, index),
        "account": account_of(snapshot),
        "coverage": list(coverage),
        "notes": list(notes),
    }


def account_of(snapshot: Snapshot) -> dict:
    """How many attention calls the model made, how many came through the host's hook, and what took the rest."""
    past = sum((run.past for run in snapshot.runs), Counter())
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
    for run in snapshot.runs:
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
    """The newest run as blocks by steps for each role. A cell shows its last call, a fallback before all others."""
    if not snapshot.runs:
        return []
    newest = snapshot.runs[-1].number
    cells: dict[str, dict[tuple[int, int], tuple[bool, int, float | None]]] = {}
    for run, record in snapshot.calls:
        if run != newest or record.step is None or record.block is None:
            continue
        row = index[Row(record.call, record.requested, record.active, record.via)]
        cell = (bool(record.reason), row, record.milliseconds)
        place = cells.setdefault(record.call.role, {})
        where = (record.step, record.block)
        if where not in place or cell[0] >= place[where][0]:
            place[where] = cell
    return [_role_grid(role, newest, place) for role, place in cells.items()]


def _role_grid(role: str, run: int, place: dict) -> dict:
    steps = 1 + max(step for step, _ in place)
    blocks = 1 + max(block for _, block in place)
    nothing = (False, -1, None)
    lines = [
        [place.get((step, block), nothing) for block in range(blocks)] for step in range(steps)
    ]
    return {
        "role": role,
        "run": run,
        "blocks": blocks,
        "steps": steps,
        "row": [[cell[1] for cell in line] for line in lines],
        "ms": [[rounded(cell[2]) for cell in line] for line in lines],
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
