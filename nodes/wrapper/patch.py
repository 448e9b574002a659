"""A clone of one of the wrapper's models: with a backend of its own, or only watched."""

from __future__ import annotations

from collections.abc import Callable

from comfy.model_management import InterruptProcessingException

from ...attention.choose.measure.timings import Timings
from ...attention.choose.policy import Policy
from ...attention.choose.rules import Rule
from ...attention.run.dispatch import Dispatcher
from ..host.capture import Capture
from ..host.expected.sizes import is_wan
from ..host.patch import block_count, timings_of
from ..host.tap import taps
from .session import opened
from .tap import WrapperTap
from .view import inside, seen_through


def patch(
    model,
    policy: Policy,
    node: str | None = None,
    rules: tuple[Rule, ...] = (),
    timings_of: Callable[[str], Timings] = timings_of,
    *,
    takes_over: bool,
):
    """Return a clone of `model` whose attention calls run under `policy` and `rules`."""
    dispatcher = Dispatcher(
        policy,
        timings_of=timings_of,
        rules=rules,
        blocks=block_count(model),
        takes_over=takes_over,
        passing=(InterruptProcessingException,),  # an Exception on core 0.8
    )
    return _tapped(model, WrapperTap(node, dispatcher))


def watch(model, node: str | None = None, proof: str = "sample", capture: Capture | None = None):
    """Return a clone of `model` whose attention calls are recorded and otherwise left alone."""
    return _tapped(model, WrapperTap(node, proof=proof, capture=capture))


def _tapped(model, tap: WrapperTap):
    known = inside(model.model)
    if not is_wan(known):
        raise ValueError(f"{type(known).__name__} given, needs a model of WanVideoWrapper")
    clone = model.clone()
    tap.attach(clone)
    clone.model = seen_through(
        clone.model, opened([tap for tap in taps(clone) if isinstance(tap, WrapperTap)])
    )
    return clone
