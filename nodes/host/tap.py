"""One node's tap on one model: it follows the sampler runs, records their calls and keeps the node current."""

from __future__ import annotations

import dataclasses
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import ClassVar

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context

from ...attention.backends.replaced import replacements
from ...attention.choose.policy import Policy
from ...attention.record.name import name_of
from ...attention.record.recorder import Recorder, Snapshot
from ...attention.report.bounds import bounded
from ...attention.report.text import summary
from ...attention.run.dispatch import Dispatcher
from ...attention.run.follow import entered, followed
from ...attention.run.forward import Forward
from ...attention.run.site import Site
from .capture import Capture
from .compiled import Graphs
from .expected.outlook import Wired, at_start, before
from .expected.taking import Taking, taker_of
from .others import Others
from .override import KEY, SLOT, Override, ahead
from .past import names
from .report.display import Display
from .report.facts import Facts, facts_of, failure_of, parts_of, peaks, start_peaks, unseen
from .report.files import waiting_prefixes, write_unfinished
from .report.payload import build
from .report.remains import Remains
from .roles import Places, sites_of
from .sampler import GUESSED, Sampler

EVENT = "wanattn.update"
NAMES = names()
log = logging.getLogger("wanattn")


class Tap:
    """Wraps the sampler and the model of a patched clone. Several taps on one model each record every call.

    `dispatcher` is that of Attention Backend; without one the calls are only watched.
    """

    _living: ClassVar[weakref.WeakSet[Tap]] = (
        weakref.WeakSet()
    )  # for the reports of a job that ends early

    def __init__(
        self,
        node: str | None,
        dispatcher: Dispatcher | None = None,
        proof: str = "",
        capture: Capture | None = None,
        wired: Wired = Wired(),  # noqa: B008  frozen
    ) -> None:
        self.node = node
        self.dispatcher = dispatcher
        self.display = Display(node, EVENT, self._shown)
        self.recorder = Recorder(listener=self._tick)
        self.override: Override | None = None
        self.reported: set[str | None] = (
            set()
        )  # Attention Run Report nodes of this job that are done
        self.remains = Remains(node)
        self._proof = proof
        self._capture = capture
        self._wired = wired
        self._taking = Taking()
        self._watch = Override(self.recorder, None, Dispatcher(Policy("host"), watches=True))
        self._graphs = Graphs()
        self._sampler = Sampler()
        self._others = Others()
        self._visits = False
        self._places: Places | None = None
        self._sought: dict[tuple[int, int], str] = {}
        self._facts = Facts(node, {})
        self._ahead = ""
        self._earlier: list[str] = []
        self._strangers: list[str] = []
        self._upstream: tuple[Tap, ...] = ()
        self._model: ModelPatcher | None = None
        self._running = False
        self._counted: list[torch.device] = []

    def __deepcopy__(self, memo: dict) -> Tap:
        return self  # other packs copy model options deeply, wrappers included

    @property
    def _dispatchers(self) -> list[Dispatcher]:
        return [*([self.dispatcher] if self.dispatcher else []), self._watch.dispatcher]

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

    def attach(self, model: ModelPatcher) -> None:
        """Become the last tap of this model."""
        self._upstream = taps(model)
        if self._upstream:  # the first tap times the calls for all
            self.recorder.stopwatch = self._upstream[0].recorder.stopwatch
        model.set_attachments(KEY, (*self._upstream, self))
        self._living.add(self)

    @property
    def wish(self) -> str:
        return self.dispatcher.policy.backend if self.dispatcher and self.dispatcher.chooses else ""

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
            with followed(self._sites()), self._others.met():
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

    def _start(self, steps: int, devices: list[torch.device]) -> None:
        context = get_executing_context()
        job = context and context.prompt_id
        self._keep_warnings(job)
        for dispatcher in filter(None, (self._watch.dispatcher, self.dispatcher)):
            dispatcher.reset(steps, devices)
        self._strangers = replacements()
        self._running = True
        self.recorder.begin(job, steps)
        if self._capture:
            self._capture.begin(self.recorder.job, self._facts.model["class"])
            self._capture.listener = self.display.show
        self.remains.begin()
        self.display.show()
        self._counted = [] if self._visits else start_peaks(devices)  # the first model counts them

    def _stop(self, state: str) -> None:
        run = self.recorder.runs[-1]
        run.peaks = peaks(self._counted)
        self.recorder.end(run, state)
        run.measuring = self._taking.measuring
        self._facts = dataclasses.replace(self._facts, date=_now())
        if self._capture:
            self._capture.end()
        self._end_forward(wait=True)
        self._finish(state)
        self._running = False

    def _sites(self) -> list[Site]:
        """Once a run, by the first tap; hooks on a compiled module would break its graph."""
        if self._upstream or self._graphs.compiled or self._model is None:
            return []
        return sites_of(self._model)

    def _keep_warnings(self, job: str | None) -> None:
        """A spoiled output of an earlier run of this job still explains its video."""
        if job is None or job != self.recorder.job:
            self._earlier.clear()
            self.reported.clear()
        else:
            number = len(self.recorder.runs)
            warnings = [each for one in self._dispatchers for each in one.warnings]
            self._earlier += [f"sampler run {number}: {warning}" for warning in warnings]

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
        sigma = float(t.flatten()[0])  # the one read from the device in a forward
        forward.sigma, forward.step = sigma, self._sampler.step(sigma)
        forward.cond = self._sampler.cond(options)
        forward.text_len = text.shape[1] if torch.is_tensor(text) and text.ndim == 3 else None
        forward.image_len = image.shape[-2] if torch.is_tensor(image) else None

    def _join(self, forward: Forward, slot) -> None:
        forward.recorders.append(self.recorder)
        if self._capture:
            forward.captures.append(self._capture)
        self.recorder.forward(forward.step)
        forward.wish = self.wish or forward.wish
        forward.proof = self._proof or forward.proof
        self._ahead = ahead(slot, self.override) if self.override else ""

    def _end_forward(self, wait: bool = False) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.end_forward(wait)

    def _tick(self) -> None:
        if self._running:
            self.display.tick()

    def _finish(self, state: str) -> None:
        """Say how the run ended; the outermost tap also writes the reports that will not get their turn."""
        self.display.show()
        try:
            log.info("node %s: %s", self.node, self.text())
            if state != "finished" and not self._upstream and not self._visits:
                job = self.recorder.job
                for tap in [tap for tap in self._living if tap.recorder.job == job]:
                    snapshot = tap.recorder.snapshot()
                    facts = tap.facts(tap.all_notes(), snapshot)
                    write_unfinished(facts, snapshot, job, tap.reported)
                    tap.remains.drop()
            elif not waiting_prefixes(self.node, self.recorder.job, self.reported):
                self.remains.drop()
        except Exception:  # what ended the run must come through
            log.exception("the report of the run failed")

    def facts(self, notes: list[str], snapshot: Snapshot | None = None) -> Facts:
        """With what was gained in the runs of this `snapshot`."""
        gain = self._taking.gain(snapshot)
        return dataclasses.replace(self._facts, notes=tuple(notes), gain=gain)

    def _described(self, model: ModelPatcher) -> Facts:
        told = facts_of(model) | self._wired.model
        return Facts(self.node, told, tuple(unseen(model, self._taking.dispatcher is not None)))

    def _shown(self) -> tuple[dict, str]:
        snapshot = self.recorder.glance()
        payload = bounded(build(self.facts(self.notes(), snapshot), snapshot))
        self.remains.keep(payload, self.recorder.job, self.reported)
        return payload, self.text(snapshot) if snapshot.runs else ""

    def text(self, snapshot: Snapshot | None = None) -> str:
        """The node's status for the current job, now or at another moment."""
        snapshot = snapshot or self.recorder.glance()
        state = snapshot.runs[-1].state if snapshot.runs else ""
        return "\n".join([summary(snapshot.counts, state), *self.notes()])

    def notes(self) -> list[str]:
        """What other packs' overrides mean for this node, and what it captures."""
        chooses = bool(self.wish or (self.dispatcher and self.dispatcher.chooses))
        found = [note for dispatcher in self._dispatchers for note in dispatcher.notes]
        notes = [*self._earlier, *self._strangers, *found]
        notes += [GUESSED] if self._sampler.guessed else []
        notes += self._others.notes()
        if self.override and self.override.replaced:
            notes.append(f"replaced the override {self.override.replaced}")
        if self._ahead:
            notes.append(self._ahead)
        elif through := self._through():
            which = "calls left to the host" if chooses else "calls"
            notes.append(f"{which} go through the override {name_of(through)}")
        notes += self._graphs.notes(chooses)
        notes += self._capture.notes(self._graphs.compiled) if self._capture else []
        return list(dict.fromkeys(notes))  # each said once, however many devices found it out

    def all_notes(self) -> list[str]:
        """Those of the nodes upstream too, for a report: what one of them found out is about the same calls."""
        job = self.recorder.job
        upstream = [tap for tap in self._upstream if tap.recorder.job == job]
        notes = [
            note
            for tap in (*upstream, self)
            for note in (
                tap._watch.dispatcher.notes if tap._ahead and tap is not self else tap.notes()
            )
        ]
        return list(dict.fromkeys(notes))

    def _through(self):
        """Another pack's override that takes the calls which this node leaves alone."""
        left_to = self.override and self.override.dispatcher.leaves and self.override.previous
        through = self._watch.previous or left_to
        return None if isinstance(through, Override) else through


def _now() -> str:
    return datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")


def taps(model: ModelPatcher) -> tuple[Tap, ...]:
    """The taps of this model, the most upstream first."""
    return model.get_attachment(KEY) or ()
