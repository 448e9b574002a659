"""The way every attention call takes: choose who runs it, have it run, record what happened."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from ..backends import BACKENDS, Backend
from ..call import Call
from ..choose.measure.measurements import Measurements
from ..choose.measure.timings import Timings
from ..choose.plan import Plans, capturing
from ..choose.policy import HOST, NoBackend, Policy, Rejection
from ..choose.rules import Rule, Rulings, check, few
from ..environment import Environment, probe
from ..record import evidence
from ..record.name import name_of
from ..record.record import Record
from .beside import Beside
from .finite import Guard, Suspect, began
from .forward import Forward, Place
from .given import Given
from .kind import Kind, output_of

UNPLACED = "calls without a block number were met: rules that name blocks do not apply to them"
CHANGED = "{name} asks Attention Backend and gives the model something else than it gave"
AGAIN = "{name} ran this beside what Attention Backend ran for the same call"
log = logging.getLogger("wanattn")


class Dispatcher:
    """Runs calls under one policy, with another backend where a rule says so.

    Decisions are kept by kind of call until `reset`. `blocks` is how many the model has, for the rules. `timings_of`
    gives the timings of a device, which `auto` reads and adds to; without it nothing is measured. One that `watches`
    leaves every call alone and tells it under the wish of the forward; one that `takes_over` runs what other packs run
    on a kernel of their own, too. Errors of the types in `passing` are no failure of a kernel. `default` is what would
    run without us, to be timed once a kind of call. `notes` holds a sentence for each thing that was found out,
    `warnings` those that tell of a spoiled output.
    """

    def __init__(
        self,
        policy: Policy,
        environment: Environment | None = None,
        timings_of: Callable[[str], Timings] | None = None,
        rules: Sequence[Rule] = (),
        blocks: int = 0,
        backends: Mapping[str, Backend] = BACKENDS,
        watches: bool = False,
        takes_over: bool = False,
        passing: tuple[type[BaseException], ...] = (),
        default: Backend | None = None,
    ) -> None:
        few(rules)
        check(rules, "block", blocks, "this model")
        self.policy = policy
        self.rules = tuple(rules)
        self.watches = watches
        self.takes_over = takes_over
        self.timings_of = timings_of
        self.notes: list[str] = []
        self.warnings: list[str] = []
        wishes = (policy.backend, *(rule.backend for rule in rules))
        self.leaves = "host" in wishes  # some calls are for the host to run
        self.chooses = set(wishes) != {"host"}  # some are not
        self._policies = {
            wish: dataclasses.replace(policy, backend=wish) for wish in (*wishes, "host")
        }
        self._blocks = blocks
        self._names_blocks = any(rule.blocks for rule in rules)
        self._rulings = Rulings(self.rules, blocks) if rules else None
        self._met: set[int] = set()  # ids of rules that a call came under
        self._passing = passing
        self.beside = Beside(default, passing)
        self._measurements = Measurements(timings_of) if timings_of else None
        self._plans = Plans(environment or probe(), self._measurements, backends, self._note)
        self._kinds: dict[tuple, Kind] = {}
        self._lock = threading.RLock()
        self._guard = Guard()
        self._spoiled = False  # something was not finite in this run
        self._last = blocks - 1 if blocks else None

    def reset(self, steps: int = 0, devices: Iterable[torch.device] = ()) -> None:
        """Start a run of so many steps, 0 where that is not known, on these devices. Raises ValueError if a rule names another."""
        with self._lock:
            self._kinds.clear()
        self._guard = Guard(devices, thorough=self._spoiled)
        self._spoiled = False
        self.notes.clear()
        self.warnings.clear()
        if self._measurements:
            self._measurements.forgive()
        self._met.clear()
        if self._rulings is None:
            return
        if steps:
            check(self.rules, "step", steps, "this run")
        self._rulings = Rulings(self.rules, self._blocks, steps)
        self.notes += self._rulings.notes(self.rules)

    @property
    def tuning(self) -> float:
        """Milliseconds that finding out what is fast has taken."""
        measured = self._measurements.milliseconds if self._measurements else 0.0
        return measured + self.beside.spent

    def end_forward(self, wait: bool = False) -> None:
        """Look at what the guard has by now; `wait` at the end of a run, when the device is done."""
        self._guard.post()
        for suspect in self._guard.read(wait):
            self._distrust(suspect)
        if wait and self._rulings:
            self.notes[: len(self.rules)] = self._rulings.notes(self.rules, self._met)

    def run(self, given: Given, place: Place, forward: Forward) -> torch.Tensor:
        """The result is [batch, heads, tokens, head_dim], or what the call gives where it is left alone.

        Raises NoBackend if every backend that the policy allows refuses the call or breaks on it.
        """
        outer, forward.inside = forward.inside, True
        try:
            if not forward.captures:
                return self._run(given, place, forward)
            with forward.captured(place, given.inputs()):
                return self._run(given, place, forward)
        finally:
            forward.inside = outer

    def _run(self, given: Given, place: Place, forward: Forward) -> torch.Tensor:
        kind = self._kind(given, place, forward)
        while (backend := kind.plan.choice.backend) is not None:
            record = kind.record(place, forward)
            if backend is HOST:
                return self._leave(kind, record, forward, given)
            inputs = given.inputs()
            try:
                result = self._attend(kind, backend.run, inputs, record, forward, inputs.q.device)
                result = kind.fit(result)
            except self._passing:
                raise
            except Exception as error:  # the one place where a kernel may fail
                self._plans.fail(kind.plan, error)
                kind.settle()
                continue
            if kind.watched or kind.step != forward.step or place.block == self._last:
                self._watch(kind, result, given, forward, place)
            forward.add(record)
            return result
        plan = kind.plan
        ending = NoBackend(plan.call, plan.policy, plan.choice.rejected)
        ending.step, ending.block = forward.step, place.block
        raise ending from plan.error

    def _leave(self, kind: Kind, record: Record, forward: Forward, given: Given) -> torch.Tensor:
        before, within = forward.calls, forward.within
        result = self._attend(kind, given.leave, (), record, forward, given.device())
        if forward.calls != before:  # an override of ours further down took it and recorded it
            self._beneath(kind, record, forward, result, again=forward.within > within)
        else:
            forward.add(record)
            if kind.step != forward.step or record.block == self._last:
                self._watch(kind, result, given, forward, record)
        return result

    def _beneath(self, kind: Kind, record: Record, forward: Forward, result, again: bool) -> None:
        """Whoever sits above ours may give the model something else than ours gave, or run attention once more."""
        if forward.passed_on(result):
            return
        self._note(CHANGED.format(name=kind.left_to))
        if not again:
            return
        seen = kind.sighting.backends if kind.sighting else ()
        taken = forward.last.active if forward.last else ""
        ran = "+".join(b for b in seen if b != taken) or "+".join(seen) or kind.left_to
        reason = AGAIN.format(name=kind.left_to)  # the time that was taken is of both
        forward.add(dataclasses.replace(record, active=ran, reason=reason, milliseconds=None))

    def _watch(self, kind: Kind, result, given: Given, forward: Forward, place) -> None:
        """Every call of a kernel that is not torch's own; of the others the first of each kind in a step, and the last block."""
        kind.step = forward.step
        if not isinstance(result, torch.Tensor) or capturing(result):
            return
        backend = kind.plan.choice.backend
        whole = backend is None or not backend.exact
        suspect = Suspect(kind, kind.active, forward.step, place.block)
        thin = kind.watched and not whole
        self._guard.watch(result, suspect, given.inputs()[:3], whole, thin)

    def _attend(self, kind: Kind, run, operands, record: Record, forward: Forward, device):
        proof = "off" if kind.opaque else forward.proof or kind.proof
        if proof == "off" or (proof == "sample" and kind.sighting):
            result = forward.timed(run, operands, device, record)
        else:
            bound = functools.partial(run, *operands)
            result, seen = evidence.watch(bound, device, self._note)
            kind.sighting = seen or kind.sighting
            record.milliseconds = seen and seen.milliseconds
            if seen and kind.evidence == "forced":
                record.evidence = "profiled"
        if kind.sighting:
            evidence.confront(record, kind.sighting)
        return result

    def _kind(self, given: Given, place: Place, forward: Forward) -> Kind:
        wish = "host" if place.left else self._wish(place, forward.step)
        where = self._where_to(place, forward, given) if wish == "host" else None
        key = (wish, place.role, place.protected, where, given.facts())
        return self._kinds.get(key) or self._new_kind(key, given, place, forward)

    def _where_to(self, place: Place, forward: Forward, given: Given) -> tuple:
        """What else tells apart calls that are left alone: another pack may run something else in another step."""
        step = forward.step if place.fickle else None
        told = place.left, place.asked, place.remark
        return id(given.back), forward.wish, told, place.opaque, step

    def _new_kind(self, key: tuple, given: Given, place: Place, forward: Forward) -> Kind:
        """Stored once it is decided: an interrupt leaves nothing half done, a second thread waits."""
        with self._lock:
            if key in self._kinds:
                return self._kinds[key]
            inputs = given.inputs()
            call = Call.of(*inputs[:4], place.role, place.protected)
            plan = self._plans.make(call, self._policies[key[0]], inputs)
            if plan.choice.backend not in (None, HOST):
                self.beside.time(call, inputs, forward)
            if place.left and self.policy.on_refusal == "stop" and self.policy.backend != "host":
                rejected = (Rejection(self.policy.backend, (place.left,)),)
                raise NoBackend(call, self.policy, rejected)
            name = name_of(given.back)
            asked, why = self._told(key[0], place, forward.wish, name)
            kind = Kind(plan, asked, name, why, place.opaque, output_of(inputs))
            kind.settle()
            self._kinds[key] = kind
            return kind

    def _told(self, wish: str, place: Place, wished: str, name: str) -> tuple[str, str]:
        """What a call is told to have been asked for, and why it is left alone."""
        asked = wished or "host" if self.watches or place.left else wish
        if asked == "host" and place.asked:
            return place.asked, place.left or place.remark
        return asked, place.left or self._why_left(asked, name)

    def _why_left(self, asked: str, name: str) -> str:
        if not self.watches or asked == "host":
            return ""
        return f"{name} was wired after Attention Backend and took the call"

    def _wish(self, place: Place, step: int | None) -> str:
        if self._rulings is None:
            return self.policy.backend
        if place.block is None and self._names_blocks:
            self._note(UNPLACED)
        rule = self._rulings.of(place.role, step, place.block)
        self._met.add(id(rule))
        return rule.backend if rule else self.policy.backend

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _distrust(self, suspect: Suspect) -> None:
        """Say where it began; take calls of this kind off a kernel that is not torch's own until the next run."""
        kind = suspect.kind
        if not isinstance(kind, Kind) or suspect.backend in kind.plan.failed:
            return
        first, self._spoiled = not self._spoiled, True
        if suspect.spoiled or not kind.watched:
            if first:
                self._warn(began(suspect, kind.plan.call))
            return
        role = kind.plan.call.role
        self._warn(f"{suspect.backend}: output not finite in {suspect.place}; {role} calls left it")
        self._plans.distrust(kind.plan, suspect.backend, f"output not finite in {suspect.place}")
        kind.settle()

    def _warn(self, note: str) -> None:
        log.warning("%s", note)
        self.notes.append(note)
        self.warnings.append(note)
