"""A report in words: the line on a node, the text, one line a call as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from ..record.recorder import Snapshot
from .devices import device_line, place_text, several
from .payload import rounded, totals_of

MOST_PARTS, MOST_LETTERS = 6, 400  # of a line on a node
CALL_COLUMNS = ("batch", "heads", "q_len", "kv_len", "head_dim", "dtype", "mask")
CSV_COLUMNS = ("run", "step", "block", "role", "cond", *CALL_COLUMNS)
CSV_COLUMNS += ("requested", "active", "evidence", "reason", "ms", "via", "device")


def summary(counts: Counter, state: str = "") -> str:
    """One line for a node: `flash 320/320 calls`, or what was asked, what ran and why."""
    total = counts.total()
    if not total:
        return "no attention call yet"
    asked = {requested for requested, _, _ in counts}
    totals = totals_of(counts)
    ran = _some([f"{active} {calls}" for active, calls in totals.items()], ", ")
    line = f"{ran}/{total} calls" if len(totals) == 1 else f"{ran} of {total} calls"
    reasons = list(dict.fromkeys(reason for (_, _, reason), _ in counts.most_common() if reason))
    if reasons:
        line = f"asked {_some(sorted(asked), ', ')}, ran {ran}: {_some(reasons, ' | ')}"
    return f"{line} ({state})" if state in ("interrupted", "failed") else line


def _some(parts: Sequence[str], between: str) -> str:
    """As many as one can read, and how many more there are."""
    shown = [
        part if len(part) <= MOST_LETTERS else f"{part[:MOST_LETTERS]}..."
        for part in parts[:MOST_PARTS]
    ]
    rest = len(parts) - len(shown)
    return between.join([*shown, f"{rest} more"] if rest else shown)


def text_of(report: dict) -> str:
    """The payload as plain text: headline, table, runs, environment, coverage."""
    lines = [*_failed(report), _headline(report), *_gained(report), "", *table(report["rows"])]
    lines += [_run_line(run) for run in report["runs"]]
    lines += map(device_line, report.get("devices", ()))
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


def account_lines(account: dict) -> list[str]:
    """What did not come through the host's hook, in words; nothing where all did."""
    past = sum(part["calls"] for part in account["past"])
    if not past:
        return []
    parts = [
        f"{part['calls']} {part['role']} {'ran ' + part['ran'] if part['ran'] else 'unseen'}, {part['how']}"
        for part in account["past"]
    ]
    head = f"{past} of {account['calls']} calls did not come through the hook"
    return [f"{head}: {'; '.join(parts)}"]


def _nothing(report: dict) -> str:
    """Why there is no call, as far as the runs tell."""
    runs = report["runs"]
    if not runs:
        return "No attention call was recorded. Is this node's output what the sampler gets?"
    forwards = sum(run["forwards"] for run in runs)
    if not forwards:
        return "The sampler ran no step with this model."
    return f"This model made no attention call in {forwards} forward{'' if forwards == 1 else 's'}."


def _failed(report: dict) -> list[str]:
    """What ended the run, before anything else."""
    failure = report.get("failure")
    if not failure:
        return []
    places = {"step": failure["step"], "block": failure["block"]}
    where = ", ".join(f"{name} {n}" for name, n in places.items() if n is not None)
    head = f"stopped at {where}: " if where else "stopped: "
    return [f"{head}{failure['sentence']}", *filter(None, [failure["advice"]]), ""]


def _gained(report: dict) -> list[str]:
    gain = report.get("gain")
    if not gain:
        return []
    run = f", whole run {gain['run']}x" if gain["run"] else ""
    return [f"attention {gain['attention']}x{run} as fast as {gain['against']}, {gain['how']}"]


def _headline(report: dict) -> str:
    if not report["calls"]:
        return "\n".join([_nothing(report), *account_lines(report["account"])])
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
    return "\n".join([headline, *account_lines(report["account"]), *reasons])


def _run_line(run: dict) -> str:
    peak = f", peak {run['peak_gib']} GiB" if run["peak_gib"] else ""
    forwards = f"{run['forwards']} forward{'' if run['forwards'] == 1 else 's'}"
    rank = f"rank {run['rank']}, " if "rank" in run else ""
    return (
        f"{rank}run {run['run']}: {run['state']}, {forwards}, {run['calls']} calls, "
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
DEVICE = "device"  # a column of its own where the calls ran on several


def table(rows: Sequence[dict]) -> list[str]:
    """Rows in columns that line up in a fixed-width font."""
    cells = [TABLE, *(_cells(row) for row in rows)]
    if several(rows):
        where = (DEVICE, *map(place_text, rows))
        cells = [(line[0], place, *line[1:]) for line, place in zip(cells, where, strict=True)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
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


def csv_of(snapshot: Snapshot) -> str:
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
            rounded(record.milliseconds),
            "past" if record.via else "hook",
            call.device,
        )
        writer.writerow((run, record.step, record.block, call.role, record.cond, *shape, *how))
    return out.getvalue()
