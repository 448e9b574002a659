"""The report of one tap as plain data, with what only the host knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...attention.record.recorder import Snapshot
from ...attention.report.payload import payload_of
from .facts import environment, facts_of, unseen

if TYPE_CHECKING:
    from .tap import Tap


def build(tap: Tap, snapshot: Snapshot, model=None, notes: Sequence[str] | None = None) -> dict:
    """The payload of a tap; `model` for one that has seen no run yet, `notes` where not only its own count."""
    facts = tap.facts or (facts_of(model) if model else {})
    guess = [] if facts.get("wan") else ["not a Wan model: roles are guesses from the shapes"]
    return payload_of(
        snapshot,
        environment(),
        node=tap.node,
        model=facts,
        coverage=tap.coverage or (unseen(model) if model else []),
        notes=[*(tap.notes() if notes is None else notes), *guess],
    )


def provenance(payload: dict) -> dict:
    """What a saved video should say about its attention."""
    told = ("schema", "requested", "totals", "fallbacks", "mismatches", "notes", "environment")
    return {key: payload[key] for key in told}
