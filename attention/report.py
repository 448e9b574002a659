"""From a recorder's snapshot to the payload that the page, the JSON file and the text all read."""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Sequence

from .recorder import Run, Snapshot, Tally

SCHEMA = 1
CALL_COLUMNS = ("batch", "heads", "q_len", "kv_len", "head_dim", "dtype", "mask")
CSV_COLUMNS = ("run", "step", "block", "role", "cond", *CALL_COLUMNS)
CSV_COLUMNS += ("requested", "active", "evidence", "reason", "ms")


def payload(
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
    return {
        "schema": SCHEMA,
        "node": node,
        "state": snapshot.runs[-1].state if snapshot.runs else "idle",
        "environment": environment,
        "model": model or {},
        "requested": ", ".join(dict.fromkeys(requested for requested, _, _ in counts)),
        "totals": _totals(counts),
        "calls": counts.total(),
        "dropped": snapshot.dropped,
        "mismatches": sum(run.mismatches for run in snapshot.runs),
        "fallbacks": _fallbacks(counts),
        "runs": [_run(run) for run in snapshot.runs],
        "rows": [rows[position] for position in order],
        "grid": _grid(snapshot, index),
        "coverage": list(coverage),
        "notes": list(notes),
    }


def _totals(counts: Counter) -> dict[str, int]:
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
        "peak_gib": run.peak_bytes and round(run.peak_bytes / 2**30, 2),
    }


def _row(key: tuple, tally: Tally) -> dict:
    call, requested, active = key
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
        "milliseconds": _rounded(median),
        "milliseconds_total": _rounded(tally.milliseconds),
        "tflops": _rounded(call.flops / median / 1e9) if median else None,
        "reasons": sorted(tally.reasons),
        "mismatch": tally.mismatch,
        "operators": list(tally.sighting.operators) if tally.sighting else [],
        "kernels": list(tally.sighting.kernels) if tally.sighting else [],
    }


def _grid(snapshot: Snapshot, index: dict[tuple, int]) -> list[dict]:
    """The newest run as blocks by steps for each role. A cell shows its last call, a fallback before all others."""
    if not snapshot.runs:
        return []
    newest = snapshot.runs[-1].number
    cells: dict[str, dict[tuple[int, int], tuple[bool, int, float | None]]] = {}
    for run, record in snapshot.calls:
        if run != newest or record.step is None or record.block is None:
            continue
        row = index[record.call, record.requested, record.active]
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
        "ms": [[_rounded(cell[2]) for cell in line] for line in lines],
    }


def summary(counts: Counter, state: str = "") -> str:
    """One line for a node: `flash 320/320 calls`, or what was asked, what ran and why."""
    total = counts.total()
    if not total:
        return "no attention call yet"
    asked = {requested for requested, _, _ in counts}
    totals = _totals(counts)
    ran = ", ".join(f"{active} {calls}" for active, calls in totals.items())
    line = f"{ran}/{total} calls" if len(totals) == 1 else f"{ran} of {total} calls"
    reasons = dict.fromkeys(reason for (_, _, reason), _ in counts.most_common() if reason)
    if reasons:
        line = f"asked {', '.join(sorted(asked))}, ran {ran}: {' | '.join(reasons)}"
    return f"{line} ({state})" if state in ("interrupted", "failed") else line


def text(report: dict) -> str:
    """The payload as plain text: headline, table, runs, environment, coverage."""
    lines = [_headline(report), "", *table(report["rows"])]
    lines += [_run_line(run) for run in report["runs"]]
    if report["dropped"]:
        lines.append(
            f"{report['dropped']} oldest calls dropped from the call list; totals include them"
        )
    facts = [
        f"{name} {value}" for name, value in report["environment"].items() if value is not None
    ]
    lines += ["", " | ".join(facts)]
    lines += [f"not seen: {sentence}" for sentence in report["coverage"]]
    return "\n".join([*lines, *report["notes"]])


def _headline(report: dict) -> str:
    if not report["calls"]:
        return "No attention call was recorded. Is this node's output what the sampler gets?"
    shares = (
        f"{active} {100 * calls / report['calls']:.0f} %"
        for active, calls in report["totals"].items()
    )
    state = f" ({report['state']})" if report["state"] != "finished" else ""
    headline = (
        f"asked {report['requested']}, ran {', '.join(shares)} of {report['calls']} calls{state}"
    )
    reasons = [
        f"! {f['calls']} calls ran {f['active']}: {f['reason']}" for f in report["fallbacks"]
    ]
    if report["mismatches"]:
        count = report["mismatches"]
        reasons.insert(
            0, f"! MISMATCH: in {count} calls the profiler saw another backend than was forced"
        )
    return "\n".join([headline, *reasons])


def _run_line(run: dict) -> str:
    peak = f", peak {run['peak_gib']} GiB" if run["peak_gib"] else ""
    forwards = f"{run['forwards']} forward{'' if run['forwards'] == 1 else 's'}"
    return (
        f"run {run['run']}: {run['state']}, {forwards}, {run['calls']} calls, "
        f"{run['seconds']:.2f} s{peak}"
    )


TABLE = (
    "role",
    "query",
    "keys",
    "dtype",
    "requested",
    "active",
    "evidence",
    "calls",
    "ms",
    "TFLOP/s",
    "reason",
)


def table(rows: Sequence[dict]) -> list[str]:
    """Rows in columns that line up in a fixed-width font."""
    cells = [TABLE, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(TABLE))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def _cells(row: dict) -> tuple[str, ...]:
    return (
        row["role"],
        f"{row['batch']}x{row['heads']}x{row['q_len']}x{row['head_dim']}",
        str(row["kv_len"]),
        row["dtype"] + ("" if row["mask"] == "none" else f" {row['mask']} mask"),
        row["requested"],
        row["active"],
        row["evidence"],
        str(row["calls"]),
        "-" if row["milliseconds"] is None else f"{row['milliseconds']:.3g}",
        "-" if row["tflops"] is None else f"{row['tflops']:.3g}",
        " | ".join(row["reasons"]),
    )


def csv_text(snapshot: Snapshot) -> str:
    """One line a call."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for run, record in snapshot.calls:
        call = record.call
        shape = (
            call.batch,
            call.heads,
            call.q_len,
            call.kv_len,
            call.head_dim,
            call.dtype_name,
            call.mask,
        )
        how = (
            record.requested,
            record.active,
            record.evidence,
            record.reason,
            _rounded(record.milliseconds),
        )
        writer.writerow((run, record.step, record.block, call.role, record.cond, *shape, *how))
    return out.getvalue()


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
