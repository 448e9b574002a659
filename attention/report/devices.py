"""What each of several devices did in a run, from the rows of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PLACE = (
    "rank",
    "device",
)  # the fields of a row that tell where its calls ran: processes have ranks


def place_of(row: Mapping) -> tuple[tuple[str, object], ...]:
    return tuple((name, row[name]) for name in PLACE if name in row)


def devices_of(rows: Sequence[dict], peaks: Mapping[str, int]) -> list[dict]:
    """Totals for each device in the order of their names, empty where all calls ran on one.

    `tflops` is the rate over the time of the calls. `peaks` are bytes by the name of a device.
    """
    places = sorted({place_of(row) for row in rows}, key=str)
    if len(places) < 2:
        return []
    parts = ((place, [row for row in rows if place_of(row) == place]) for place in places)
    return [_totals(dict(place), own, peaks) for place, own in parts]


def _totals(place: dict, rows: Sequence[dict], peaks: Mapping[str, int]) -> dict:
    timed = [row for row in rows if row["milliseconds_total"]]
    spent = sum(row["milliseconds_total"] for row in timed)
    rates = [(row["tflops"] or 0) * row["milliseconds_total"] for row in timed]
    peak = peaks.get(str(place["device"]))
    return {
        **place,
        "calls": sum(row["calls"] for row in rows),
        "milliseconds_total": round(spent, 4) if timed else None,
        "tflops": round(sum(rates) / spent, 4) if spent else None,
        "peak_gib": peak and round(peak / 2**30, 2),
    }


def several(rows: Sequence[dict]) -> bool:
    """Whether the rows of a table must say where they ran."""
    return len({place_of(row) for row in rows}) > 1


def device_line(device: Mapping) -> str:
    """`cuda:1: 160 calls, 812 ms in attention, 402 TFLOP/s, peak 21.4 GiB`, as far as it is known."""
    facts = [f"{device['calls']} call{'' if device['calls'] == 1 else 's'}"]
    if device["milliseconds_total"] is not None:
        facts.append(f"{device['milliseconds_total']:.4g} ms in attention")
    if device["tflops"]:
        facts.append(f"{device['tflops']:.3g} TFLOP/s")
    if device["peak_gib"]:
        facts.append(f"peak {device['peak_gib']} GiB")
    return f"{place_text(device)}: {', '.join(facts)}"


def place_text(row: Mapping) -> str:
    """`cuda:1`, or `rank 1 cuda:0` where each process has its own names of devices."""
    rank = f"rank {row['rank']} " if "rank" in row else ""
    return f"{rank}{row['device']}"
