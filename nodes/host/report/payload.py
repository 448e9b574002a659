"""The report of a watched model as plain data, with what only the host knows."""

from __future__ import annotations

from ....attention.record.recorder import Snapshot
from ....attention.report.payload import payload_of
from .facts import Facts, environment

GUESS = "not a Wan model: roles are guesses from the shapes"


def build(facts: Facts, snapshot: Snapshot) -> dict:
    guess = () if facts.model.get("wan") else (GUESS,)
    told = {"model": facts.model, "coverage": facts.coverage, "notes": [*facts.notes, *guess]}
    payload = payload_of(snapshot, environment(), node=facts.node, **told)
    if facts.failure and payload["state"] == "failed":
        payload["failure"] = facts.failure
    outlook = {"video": facts.outlook.video, "forecast": list(facts.outlook.forecast)}
    more = {**outlook, "gain": facts.gain, "date": facts.date}
    return payload | {name: told for name, told in more.items() if told}


def provenance(payload: dict) -> dict:
    """What a saved video should say about its attention."""
    told = ("schema", "requested", "totals", "fallbacks", "mismatches", "notes", "environment")
    told += ("account",)
    return {key: payload[key] for key in told}
