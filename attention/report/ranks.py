"""One report from those of several ranks: the payload that the page and the files read, with the rank of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .devices import devices_of
from .payload import rounded

STATES = ("failed", "interrupted", "running", "finished", "idle")  # the worst first


@dataclass(frozen=True, slots=True)
class Part:
    """What one rank reports of one sampler call. `facts` has its device, card, mode and what measuring took."""

    call: int
    rank: int
    facts: Mapping[str, object]
    payload: Mapping


def merged(parts: Sequence[Part], node: str | None, lost: Sequence[str] = ()) -> dict:
    """Plain data, schema 1. `lost` are sentences about ranks that did not report. ValueError without any part."""
    if not parts:
        raise ValueError("; ".join(lost) or "no rank has reported")
    payloads = [part.payload for part in parts]
    totals = sum((Counter(p["totals"]) for p in payloads), Counter())
    rows, places = _rows(parts)
    devices = _devices(parts, rows)
    first = {key: payloads[0][key] for key in ("schema", "environment", "model")}
    ended = {key: p[key] for p in payloads for key in ("failure", "date") if key in p}
    return {
        **first,
        "node": node,
        "state": "failed" if lost else min((p["state"] for p in payloads), key=STATES.index),
        "requested": ", ".join(dict.fromkeys(p["requested"] for p in payloads if p["requested"])),
        "totals": dict(totals.most_common()),
        **{key: sum(p[key] for p in payloads) for key in ("calls", "dropped", "mismatches")},
        "fallbacks": _added(payloads, "fallbacks", ("requested", "active", "reason")),
        "runs": _runs(parts),
        "rows": rows,
        **({"devices": devices} if len(devices) > 1 else {}),
        "grid": _grids(parts, places),
        "account": _account(payloads),
        "coverage": list(dict.fromkeys(told for p in payloads for told in p["coverage"])),
        "notes": [*lost, *slowest(devices), *_notes(parts)],
        **ended,
    }


def _devices(parts: Sequence[Part], rows: Sequence[dict]) -> list[dict]:
    """The totals of each rank, with its card, its mode and its peak of memory."""
    return [
        {**totals, **_facts([part for part in parts if part.rank == totals["rank"]])}
        for totals in devices_of(rows, {})
    ]


def _facts(own: Sequence[Part]) -> dict:
    peaks = [run["peak_gib"] for part in own for run in part.payload["runs"] if run["peak_gib"]]
    measured = sum(float(str(part.facts.get("measuring_ms") or 0)) for part in own)
    return {
        **{key: own[-1].facts.get(key) for key in ("card", "mode")},
        "peak_gib": max(peaks, default=None),
        "measuring_ms": rounded(measured),
    }


def slowest(devices: Sequence[Mapping]) -> list[str]:
    """A sentence that names the rank whose attention took longest, nothing where ranks cannot be compared."""
    timed = [device for device in devices if device["milliseconds_total"]]
    if len(timed) < 2:
        return []
    timed.sort(key=lambda device: -device["milliseconds_total"])
    last, first = timed[0], timed[-1]
    seconds = last["milliseconds_total"] / 1e3
    more = last["milliseconds_total"] / first["milliseconds_total"]
    return [
        f"slowest: rank {last['rank']} ({last['card']}), {seconds:.3g} s in attention, "
        f"{more:.2f}x of rank {first['rank']} ({first['card']})"
    ]


def _rows(parts: Sequence[Part]) -> tuple[list[dict], dict[tuple[int, int, int], int]]:
    """Rows of all, the longest first, and where each has gone by its call, its rank and its place there."""
    rows = [
        ((part.call, part.rank, place), {**row, "rank": part.rank})
        for part in parts
        for place, row in enumerate(part.payload["rows"])
    ]
    rows.sort(key=lambda each: -(each[1]["milliseconds_total"] or 0))
    return [row for _, row in rows], {key: at for at, (key, _) in enumerate(rows)}


def _runs(parts: Sequence[Part]) -> list[dict]:
    return [
        {**run, "run": part.call, "rank": part.rank, "device": part.facts.get("device")}
        for part in parts
        for run in part.payload["runs"]
    ]


def _grids(parts: Sequence[Part], places: Mapping[tuple[int, int, int], int]) -> list[dict]:
    """Those of the newest sampler call."""
    newest = max(part.call for part in parts)
    return [
        {
            **grid,
            "run": newest,
            "rank": part.rank,
            "row": [
                [places.get((part.call, part.rank, row), -1) for row in line]
                for line in grid["row"]
            ],
        }
        for part in parts
        if part.call == newest
        for grid in part.payload["grid"]
    ]


def _account(payloads: Sequence[Mapping]) -> dict:
    accounts = [p["account"] for p in payloads]
    totals = {key: sum(account[key] for account in accounts) for key in ("calls", "hooked")}
    return {**totals, "past": _added(accounts, "past", ("role", "how", "ran"))}


def _added(tables: Sequence[Mapping], name: str, facts: tuple[str, ...]) -> list[dict]:
    """Entries that agree in these facts, as one, with their calls added up."""
    calls: Counter[tuple] = Counter()
    for table in tables:
        for entry in table[name]:
            calls[tuple(entry[fact] for fact in facts)] += entry["calls"]
    return [{**dict(zip(facts, key, strict=True)), "calls": n} for key, n in calls.most_common()]


def _notes(parts: Sequence[Part]) -> list[str]:
    """A note that every rank has, once; else with the rank before it."""
    everyone = {part.rank for part in parts}
    said: dict[str, set[int]] = {}
    for part in parts:
        for note in part.payload["notes"]:
            said.setdefault(note, set()).add(part.rank)
    return [
        note if ranks == everyone else f"rank {', '.join(map(str, sorted(ranks)))}: {note}"
        for note, ranks in said.items()
    ]


def csv_of_ranks(texts: Sequence[tuple[int, int, str]]) -> str:
    """One table from those of several ranks, each with its sampler call and its rank before it."""
    lines: list[str] = []
    for call, rank, text in texts:
        head, *rows = text.splitlines()
        lines = lines or [f"rank,{head}"]
        lines += [f"{rank},{call},{row.partition(',')[2]}" for row in rows]
    return "".join(f"{line}\n" for line in lines)
