"""A patched clone of one of the host's models: with a backend of its own, or only watched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import folder_paths
import torch
from comfy.model_management import InterruptProcessingException

from ...attention.choose.measure.timings import Timings
from ...attention.choose.policy import Policy
from ...attention.choose.rules import Rule
from ...attention.environment import probe
from ...attention.run.dispatch import Dispatcher
from . import functions
from .capture import Capture
from .expected.outlook import Wired
from .run.tap import HostTap


@functools.cache
def timings_of(device: str) -> Timings:
    """Of one device, shared by all models; kept in the host's user folder."""
    path = Path(folder_paths.get_user_directory()) / "wanattn" / "timings.json"
    return Timings(path, probe().machine(device))


def patch(
    model,
    policy: Policy,
    node: str | None = None,
    rules: tuple[Rule, ...] = (),
    timings_of: Callable[[str], Timings] = timings_of,
    takes_over: bool = False,
    wired: Wired = Wired(),  # noqa: B008  frozen
):
    """Return a clone of `model` whose attention calls run under `policy` and `rules`."""
    clone = model.clone()
    dispatcher = Dispatcher(
        policy,
        timings_of=timings_of,
        rules=rules,
        blocks=block_count(clone),
        takes_over=takes_over,
        passing=(InterruptProcessingException,),  # an Exception on core 0.8
        default=functions.default(),
    )
    HostTap(node, dispatcher, wired=wired).install(clone)
    return clone


def block_count(model) -> int:
    """How many blocks the model numbers, 0 if it does not."""
    blocks = getattr(model.model.diffusion_model, "blocks", None)
    return len(blocks) if isinstance(blocks, torch.nn.ModuleList) else 0


def watch(
    model,
    node: str | None = None,
    proof: str = "sample",
    capture: Capture | None = None,
    wired: Wired = Wired(),  # noqa: B008  frozen
):
    """Return a clone of `model` whose attention calls are recorded and otherwise left alone."""
    clone = model.clone()
    HostTap(node, proof=proof, capture=capture, wired=wired).install(clone)
    return clone
