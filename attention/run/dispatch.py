"""The way every attention call takes: choose a backend, run it, record what happened."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence

import torch

from .. import failure
from ..backends import Refused
from ..call import Call, Inputs
from ..choose.measurements import Measurements
from ..choose.plan import Plan
from ..choose.policy import Choice, NoBackend, Policy, choose, eligible
from ..choose.rules import Rule, Rulings, check
from ..choose.timings import Timings
from ..choose.tuner import describe
from ..environment import Environment, probe
from ..record import evidence
from ..record.record import Record, Sighting
from .finite import Guard, Suspect
from .forward import Forward

UNPLACED = "calls without a block number were met: rules that name blocks do not apply to them"
log = logging.getLogger("wanattn")


class Dispatcher:
    """Runs calls under one policy, with another backend where a rule says so.

    Decisions are kept by kind of call until `reset`. `blocks` is how many the model has, for the rules.
    `timings_of` gives the timings of a device, which `auto` reads and adds to; without it nothing is measured.
    `notes` holds a sentence for each thing that was found out, `warnings` those that tell of a spoiled output.
    """

    def __init__(
        self,
        policy: Policy,
        environment: Environment | None = None,
        timings_of: Callable[[str], Timings] | None = None,
        rules: Sequence[Rule] = (),
        blocks: int = 0,
    ) -> None:
        check(rules, "block", blocks, "this model")
        self.policy = policy
        self.rules = tuple(rules)
        wishes = (policy.backend, *(rule.backend for rule in rules))
        self._policies = {wish: dataclasses.replace(policy, backend=wish) for wish in wishes}
        self._blocks = blocks
        self._names_blocks = any(rule.blocks for rule in rules)
        self._rulings = Rulings(self.rules, blocks) if rules else None
        self._met: set[int] = set()  # ids of rules that a call came under
        self.environment = environment or probe()
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._plans: dict[tuple, Plan] = {}
        self._knowledge = Measurements(timings_of) if timings_of else None
        self._guard = Guard()

    def reset(self, steps: int = 0) -> None:
        """Start a run of so many steps, 0 where that is not known. Raises ValueError if a rule names another."""
        self._plans.clear()
        self._guard = Guard()
        self.notes.clear()
        self.warnings.clear()
        if self._knowledge:
            self._knowledge.forgive()
        self._met.clear()
        if self._rulings is None:
            return
        if steps:
            check(self.rules, "step", steps, "this run")
        self._rulings = Rulings(self.rules, self._blocks, steps)
        self.notes += self._rulings.notes(self.rules)

    @property
    def tuning(self) -> float:
        """Milliseconds that `auto` has taken to measure."""
        return self._knowledge.milliseconds if self._knowledge else 0.0

    @property
    def leaves(self) -> bool:
        """Whether some calls are for the host to run."""
        return "host" in self._policies

    def wish(self, role: str, step: int | None, block: int | None) -> str:
        """The backend that is asked for such a call; `host` must not be given to `run`."""
        if self._rulings is None:
            return self.policy.backend
        if block is None and self._names_blocks and UNPLACED not in self.notes:
            self.notes.append(UNPLACED)
        rule = self._rulings.of(role, step, block)
        self._met.add(id(rule))
        return rule.backend if rule else self.policy.backend

    def end_forward(self, wait: bool = False) -> None:
        """Look at what the guard has by now; `wait` at the end of a run, when the device is done."""
        self._guard.post()
        for suspect in self._guard.read(wait):
            self._distrust(suspect)
        if wait and self._rulings:
            self.notes[: len(self.rules)] = self._rulings.notes(self.rules, self._met)

    def run(
        self,
        q,
        k,
        v,
        mask,
        scale,
        forward: Forward,
        block: int | None,
        role: str = "",
        protected: bool = False,
    ) -> torch.Tensor:
        """Tensors are [batch, heads, tokens, head_dim], as is the result. `protected` as in `Call`.

        Raises NoBackend if every backend that the policy allows refuses the call or breaks on it.
        """
        role = role or forward.role(q.shape[2], k.shape[2])
        policy = self._policies[self.wish(role, forward.step, block)]
        plan = self._plan(q, k, v, mask, scale, role, policy, protected)
        while plan.choice.backend is not None:
            backend = plan.choice.backend
            record = self._record(plan, backend.name, forward, block)
            try:
                result = self._attend(
                    plan,
                    functools.partial(backend.run, q, k, v, mask, scale),
                    record,
                    forward,
                    q.device,
                )
                result = _fitting(result, q, v)
            except Exception as error:  # the one place where a kernel may fail
                self._fail(plan, backend.name, error)
                continue
            if not (backend.exact or _capturing(result)):
                self._guard.watch(result, Suspect(plan, backend.name, forward.step, block))
            forward.add(record)
            return result
        raise NoBackend(plan.call, plan.policy, plan.choice.rejected) from plan.error

    def _distrust(self, suspect: Suspect) -> None:
        """Take calls of this kind off the backend until the next run."""
        plan = suspect.kind
        if not isinstance(plan, Plan) or suspect.backend in plan.failed:
            return
        step = "an unknown step" if suspect.step is None else f"step {suspect.step}"
        place = step if suspect.block is None else f"{step}, block {suspect.block}"
        plan.failed[suspect.backend] = (f"output not finite in {place}",)
        note = f"{suspect.backend}: output not finite in {place}; {plan.call.role} calls left it"
        log.warning("%s", note)
        self.notes.append(note)
        self.warnings.append(note)
        self._choose(plan)

    def _attend(
        self, plan: Plan, run: Callable[[], torch.Tensor], record: Record, forward: Forward, device
    ) -> torch.Tensor:
        if forward.proof in ("", "off") or (forward.proof == "sample" and plan.sighting):
            result = forward.timed(run, device, record)
        else:
            result, plan.sighting = evidence.watch(run, device)
            if plan.sighting:
                record.evidence, record.milliseconds = "profiled", plan.sighting.milliseconds
        if plan.sighting:
            _confront(record, plan.sighting)
        return result

    def _plan(self, q, k, v, mask, scale, role: str, policy: Policy, protected: bool) -> Plan:
        masked = None if mask is None else (mask.dtype, mask.shape)
        shapes = (q.shape, k.shape, v.shape[3], q.dtype, q.device, masked)
        key = (policy.backend, role, protected, *shapes)
        plan = self._plans.get(key)
        if plan is None:
            call = Call.of(q, k, v, mask, role, protected)
            plan = self._plans[key] = Plan(call, policy, Choice(None))
            self._measure(plan, Inputs(q, k, v, mask, scale))
            self._choose(plan)
            log.debug("%s: %s", call.describe(), plan.choice)
        return plan

    def _measure(self, plan: Plan, inputs: Inputs) -> None:
        """What `auto` goes by on the devices that can be timed."""
        call = plan.call
        if self._knowledge is None or plan.policy.backend != "auto":
            return
        if call.device_type not in ("cpu", "cuda"):
            return
        if _capturing(inputs.q):
            return
        backends = eligible(call, self.environment, plan.policy)
        if len(backends) < 2:
            return
        try:
            plan.measured = self._knowledge.of(call, backends, inputs)
        except Exception as error:  # measuring is a help, never a condition
            log.warning("%s was not measured", call.describe(), exc_info=error)
            self.notes.append(f"{call.role} calls not measured ({failure.words(error)})")
            failure.release(error)
            return
        self.notes.append(describe(call, list(plan.measured.values())))
        log.info("%s", self.notes[-1])
        problem = self._knowledge.problem(call)
        if problem and problem not in self.notes:
            self.notes.append(problem)

    def _choose(self, plan: Plan) -> None:
        plan.choice = choose(plan.call, self.environment, plan.policy, plan.failed, plan.measured)
        plan.sighting = None

    def _record(self, plan: Plan, active: str, forward: Forward, block: int | None) -> Record:
        reason = plan.choice.reason
        wish = plan.policy.backend
        return Record(plan.call, wish, active, "forced", reason, forward.step, block, forward.cond)

    def _fail(self, plan: Plan, name: str, error: Exception) -> None:
        if isinstance(error, Refused):
            plan.failed[name] = error.reasons
        else:
            log.warning("%s failed on %s", name, plan.call.describe(), exc_info=error)
            plan.failed[name] = (failure.words(error),)
            plan.error = error
        failure.release(error)
        self._choose(plan)


def _fitting(result: object, q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """In the query's dtype. TypeError for what no attention gives: a broken package must not break the model."""
    shape = (*q.shape[:3], v.shape[3])
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"gave {type(result).__name__}, needs a tensor")
    if result.shape != shape:
        raise TypeError(f"gave a tensor of shape {tuple(result.shape)}, needs {shape}")
    return result.to(q.dtype)


def _capturing(tensor: torch.Tensor) -> bool:
    """Whether torch records a CUDA graph: what is launched then runs again with each replay, on memory of the graph."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def _confront(record: Record, sighting: Sighting) -> None:
    """Put what the profiler saw into the record; where it contradicts the backend, what was seen counts."""
    record.sighting = sighting
    if sighting.contradicts(record.active):
        seen = sighting.name or "no attention operator of torch"
        contradiction = f"{record.active} was forced, but the profiler saw {seen}"
        record.reason = "; ".join(filter(None, (record.reason, contradiction)))
        record.active, record.mismatch = sighting.name or "unknown", True
