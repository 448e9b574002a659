"""One node's tap on a model of WanVideoWrapper."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch

from ...attention.run.dispatch import Dispatcher
from ...attention.run.forward import Forward
from ..host.report.facts import Facts, failure_of, unseen
from ..host.tap import Tap

LATER = "another Attention Backend after this one decides"
UNSEEN = "attention of the mode {} is not seen"


class Running(Protocol):
    def end(self, state: str = "") -> None: ...


class WrapperTap(Tap):
    """Told by a Session of what happens; the wrapper knows neither wrappers nor the host's hook."""

    _session: Running | None = None

    def attach(self, model) -> None:
        super().attach(model)
        told = unseen(model)
        mode = str(getattr(model.model.diffusion_model, "attention_mode", ""))
        told += [UNSEEN.format(mode)] if mode.startswith("sparge") else []
        # The class of a view is named as the model's own.
        self._facts = Facts(
            self.node, {"class": type(model.model).__name__, "wan": True}, tuple(told)
        )

    @property
    def taker(self) -> Dispatcher:
        """Whoever leaves every call alone where this node chooses nothing."""
        return self.dispatcher or self._watch.dispatcher

    def began(self, session: Running, steps: int, device: torch.device, compiled: bool) -> None:
        if self._session is not None:  # a sampler that still holds the model has ended all the same
            self._session.end()
        self._session = session
        self._graphs.compiled = compiled
        self._facts = dataclasses.replace(self._facts, failure=None, date="")
        self._start(steps, [device])

    def joined(self, forward: Forward, overruled: bool) -> None:
        self._join(forward, None)
        self._ahead = LATER if overruled and self.wish else ""

    def forwarded(self) -> None:
        self.recorder.stopwatch.settle()
        self._end_forward()
        self._tick()

    def failed(self, error: Exception) -> None:
        self._facts = dataclasses.replace(self._facts, failure=failure_of(error))

    def ended(self, session: Running, state: str) -> None:
        if self._session is session:
            self._session = None
            self._stop(state)
