"""The report of one tap as plain data, with what only the host knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import comfy.ldm.modules.attention as host_attention
import comfyui_version
from comfy.ldm.wan.model import WanModel

from .. import __version__
from ..attention import report
from ..attention.dispatch import name_of
from ..attention.environment import probe
from ..attention.recorder import Snapshot
from .coverage import unseen

if TYPE_CHECKING:
    from .tap import Tap


def build(tap: Tap, model, snapshot: Snapshot) -> dict:
    return report.payload(
        snapshot,
        environment(),
        node=tap.node,
        model={"class": type(model.model).__name__, "wan": is_wan(model)},
        coverage=tap.coverage or unseen(model),
        notes=[
            *tap.notes(),
            *([] if is_wan(model) else ["not a Wan model: roles are guesses from the shapes"]),
        ],
    )


def is_wan(model) -> bool:
    return isinstance(model.model.diffusion_model, WanModel)


def environment() -> dict:
    host = {
        "comfyui": comfyui_version.__version__,
        "host_attention": name_of(host_attention.optimized_attention),
    }
    return {"wanattn": __version__, **host, **probe().facts()}


def provenance(payload: dict) -> dict:
    """What a saved video should say about its attention."""
    return {
        key: payload[key] for key in ("schema", "requested", "totals", "fallbacks", "environment")
    }
