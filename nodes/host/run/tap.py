"""A tap on one of the host's models: bound to its sampler and its forwards by the host's wrappers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ....attention.run.dispatch import Dispatcher
from ....attention.run.follow import entered, followed
from ....attention.run.forward import Forward
from ....attention.run.site import Site
from ..capture import Capture
from ..expected.outlook import Wired, at_start, before
from ..expected.taking import taker_of
from ..override import KEY, SLOT, Override
from ..report.facts import Facts, facts_of, failure_of, parts_of, unseen
from ..tap import Tap
from .others import Others
from .past import names
from .roles import Places, sites_of
from .sampler import GUESSED, Sampler

NAMES = names()


class HostTap(Tap):
    """Wraps the sampler and the model of a patched clone."""

    def __init__(
        self,
        node: str | None,
        dispatcher: Dispatcher | None = None,
        proof: str = "",
        capture: Capture | None = None,
        wired: Wired = Wired(),  # noqa: B008  frozen
    ) -> None:
        super().__init__(node, dispatcher, proof, capture)
        self._wired = wired
        self._sampler = Sampler()
        self._others = Others()
        self._places: Places | None = None
        self._sought: dict[tuple[int, int], str] = {}
        self._model: ModelPatcher | None = None

    def install(self, model: ModelPatcher) -> None:
        """With a dispatcher its override takes the host's slot, and whoever sat there gets what it leaves alone."""
        if self.dispatcher:
            options = model.model_options.setdefault("transformer_options", {})
            self.override = Override(self.recorder, options.get(SLOT), self.dispatcher)
            options[SLOT] = self.override
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, self.outer_sample)
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, self.apply_model)
        self.attach(model)
        outlook = before(model, self._wired, self._taking.look(model))
        self._facts = dataclasses.replace(self._described(model), outlook=outlook)
        self.display.show()

    def outer_sample(self, executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
        guider = executor.class_obj
        own = Sampler(guider, sigmas.tolist())
        args, kwargs = own.heard(args, kwargs)
        with self._during(guider.model_patcher, own, tuple(noise.shape)):
            return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)

    @contextmanager
    def visited(
        self, model: ModelPatcher, sampler: Sampler, shape: tuple[int, ...]
    ) -> Iterator[None]:
        """A run under the guider of another model, whose nodes end the job."""
        self._visits = True
        try:
            with self._during(model, sampler, shape):
                yield
        finally:
            self._visits = False

    @contextmanager
    def _during(
        self, model: ModelPatcher, sampler: Sampler, shape: tuple[int, ...]
    ) -> Iterator[None]:
        """Bracket one sampler run; what was recorded stays when it is interrupted or fails."""
        self._begin(model, sampler, shape)
        state = "failed"
        try:
            with followed(self._sites(model)), self._others.met(), NAMES.kept():
                yield
            state = "finished"
        except comfy.model_management.InterruptProcessingException:
            state = "interrupted"
            raise
        except Exception as error:
            self._facts = dataclasses.replace(self._facts, failure=failure_of(error))
            raise
        finally:
            self._stop(state)
            self._model = self._places = None
            self._sampler.over()

    def _begin(self, model: ModelPatcher, sampler: Sampler, shape: tuple[int, ...]) -> None:
        self._sampler, self._model = sampler, model
        self._others = Others(model, sampler, shape)
        self._places, self._sought = Places(model), {}
        self._watch.previous = None
        outlook = at_start(model, shape, self._taking.look(model))
        self._facts = dataclasses.replace(self._described(model), outlook=outlook)
        self._graphs.begin(model)
        if self.override:
            self.override.numbers = not self._graphs.by_block
        self._start(sampler.steps, [part.load_device for part in parts_of(model)])

    def _sites(self, model: ModelPatcher) -> list[Site]:
        """Once a run, by the first tap; hooks on a compiled module would break its graph."""
        return [] if self._upstream or self._graphs.compiled else sites_of(model)

    def apply_model(
        self, executor, x, t, c_concat=None, c_crossattn=None, control=None, options=None, **kwargs
    ):
        """Give the calls of one forward their step and conditioning; see to it that none goes unseen."""
        options = {} if options is None else options
        if other := self._others.running(self, executor.class_obj):
            given = (x, t, c_concat, c_crossattn, control)
            return self._others.forward(other, executor, options, *given, **kwargs)
        first = KEY not in options
        forward = options.setdefault(KEY, Forward()) if first else options[KEY]
        slot = options.get(SLOT)
        if first:
            self._describe(forward, options, t, c_crossattn, kwargs.get("clip_fea"))
            if not isinstance(slot, Override):
                self._watch.previous = slot
                options[SLOT] = self._watch
        self._join(forward, slot)
        try:
            with self._reaching(slot, forward, options) if first else nullcontext():
                return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
        finally:
            if first:
                options.pop(KEY, None)  # other packs' wrappers may have taken them out
                options.pop(SLOT, None)
                options.update({SLOT: slot} if slot else {})
            self.recorder.stopwatch.settle()
            self._end_forward()
            self._tick()

    @contextmanager
    def _reaching(self, slot, forward: Forward, options: dict) -> Iterator[None]:
        """Calls that go past the hook, and those of compiled graphs, come to the override that takes or watches them."""
        override = (
            slot
            if isinstance(slot, Override)
            else (self._model and taker_of(self._model)) or self._watch
        )
        forward.taker = taker = override.dispatcher
        strict = taker.chooses and taker.policy.on_refusal == "stop"
        forward.strict = taker.policy.backend if strict and taker.policy.backend != "host" else ""
        forward.seek, forward.sought = self._places and self._places.role, self._sought
        certain = override is slot
        led = nullcontext() if self._graphs.compiled else NAMES.led()
        with self._graphs.serving(override, forward, options, certain), entered(forward), led:
            yield

    def _describe(self, forward: Forward, options: dict, t, text, image) -> None:
        sigma = _first(t.tolist())  # the one read from the device in a forward
        forward.sigma, forward.step = sigma, self._sampler.step(sigma)
        forward.cond = self._sampler.cond(options)
        forward.text_len = text.shape[1] if torch.is_tensor(text) and text.ndim == 3 else None
        forward.image_len = image.shape[-2] if torch.is_tensor(image) else None

    def _described(self, model: ModelPatcher) -> Facts:
        told = facts_of(model) | self._wired.model
        return Facts(self.node, told, tuple(unseen(model, self._taking.dispatcher is not None)))

    def _run_notes(self) -> list[str]:
        return [*([GUESSED] if self._sampler.guessed else []), *self._others.notes()]


def _first(values) -> float:
    return _first(values[0]) if isinstance(values, list) else float(values)
