"""The report of one tap as plain data, with what only the host knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import comfy.ldm.modules.attention as host_attention
import comfy.model_management
import comfyui_version
from comfy.ldm.wan.model import WanModel

from .. import __version__
from ..attention import report
from ..attention.environment import probe
from ..attention.observer import name_of
from ..attention.recorder import Snapshot
from .coverage import unseen

if TYPE_CHECKING:
    from .tap import Tap


def build(tap: Tap, snapshot: Snapshot, model=None, notes: Sequence[str] | None = None) -> dict:
    """The payload of a tap; `model` for one that has seen no run yet, `notes` where not only its own count."""
    facts = tap.facts or (facts_of(model) if model else {})
    guess = [] if facts.get("wan") else ["not a Wan model: roles are guesses from the shapes"]
    return report.payload(
        snapshot,
        environment(),
        node=tap.node,
        model=facts,
        coverage=tap.coverage or (unseen(model) if model else []),
        notes=[*(tap.notes() if notes is None else notes), *guess],
    )


def facts_of(model) -> dict:
    wan = isinstance(model.model.diffusion_model, WanModel)
    return {"class": type(model.model).__name__, "wan": wan}


def environment() -> dict:
    host = {
        "comfyui": comfyui_version.__version__,
        "host_attention": name_of(host_attention.optimized_attention),
    }
    device = str(
        comfy.model_management.get_torch_device()
    )  # the server may have been told to leave a GPU alone
    return {"wanattn": __version__, **host, **probe().facts(device)}


def provenance(payload: dict) -> dict:
    """What a saved video should say about its attention."""
    told = ("schema", "requested", "totals", "fallbacks", "mismatches", "notes", "environment")
    return {key: payload[key] for key in told}
