"""One node's tap on one model: it records the calls of the sampler runs that it is told of and keeps the node current."""

from __future__ import annotations

import dataclasses
import logging
import weakref
from datetime import datetime
from typing import ClassVar

import torch
from comfy.model_patcher import ModelPatcher
from comfy_execution.utils import get_executing_context

from ...attention.backends.replaced import replacements
from ...attention.choose.policy import Policy
from ...attention.record.name import name_of
from ...attention.record.recorder import Recorder, Snapshot
from ...attention.report.bounds import bounded
from ...attention.report.text import summary
from ...attention.run.dispatch import Dispatcher
from ...attention.run.forward import Forward
from .capture import Capture
from .expected.taking import Taking
from .override import KEY, Override, ahead
from .report.display import Display
from .report.facts import Facts, peaks, start_peaks
from .report.files import waiting_prefixes, write_unfinished
from .report.payload import build
from .report.remains import Remains
from .run.compiled import Graphs

EVENT = "wanattn.update"
log = logging.getLogger("wanattn")


class Tap:
    """Told of runs and forwards by what is bound to their sampler. Several taps on one model each record every call.

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
        self._taking = Taking()
        self._watch = Override(self.recorder, None, Dispatcher(Policy("host"), watches=True))
        self._graphs = Graphs()
        self._visits = False  # under the guider of another model, whose nodes end the job
        self._facts = Facts(node, {})
        self._ahead = ""
        self._earlier: list[str] = []
        self._strangers: list[str] = []
        self._upstream: tuple[Tap, ...] = ()
        self._running = False
        self._counted: list[torch.device] = []

    def __deepcopy__(self, memo: dict) -> Tap:
        return self  # other packs copy model options deeply, wrappers included

    @property
    def _dispatchers(self) -> list[Dispatcher]:
        return [*([self.dispatcher] if self.dispatcher else []), self._watch.dispatcher]

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

    def _keep_warnings(self, job: str | None) -> None:
        """A spoiled output of an earlier run of this job still explains its video."""
        if job is None or job != self.recorder.job:
            self._earlier.clear()
            self.reported.clear()
        else:
            number = len(self.recorder.runs)
            warnings = [each for one in self._dispatchers for each in one.warnings]
            self._earlier += [f"sampler run {number}: {warning}" for warning in warnings]

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
        found = [note for dispatcher in self._dispatchers for note in dispatcher.notes]
        notes = [*self._earlier, *self._strangers, *found, *self._run_notes()]
        if self.override and self.override.replaced:
            notes.append(f"replaced the override {self.override.replaced}")
        if self._ahead:
            notes.append(self._ahead)
        elif through := self._through():
            which = "calls left to the host" if self.wish else "calls"
            notes.append(f"{which} go through the override {name_of(through)}")
        notes += self._graphs.notes(bool(self.wish))
        notes += self._capture.notes(self._graphs.compiled) if self._capture else []
        return list(dict.fromkeys(notes))  # each said once, however many devices found it out

    def _run_notes(self) -> list[str]:
        """What whoever is bound to the sampler found out about it."""
        return []

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
