"""The way every attention call takes: choose a backend, run it, record what happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from . import evidence
from .backends import Refused
from .call import Call
from .environment import Environment, probe
from .forward import Forward
from .policy import Choice, NoBackend, Policy, choose
from .record import Record

log = logging.getLogger("wanattn")


@dataclass(slots=True)
class Plan:
    """What was decided for one kind of call. `failed` holds the backends that broke on it, with the reasons."""

    call: Call
    choice: Choice
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    error: Exception | None = None


class Dispatcher:
    """Runs calls under one policy. Decisions are kept by kind of call until `reset`."""

    def __init__(self, policy: Policy, environment: Environment | None = None) -> None:
        self.policy = policy
        self.environment = environment or probe()
        self._plans: dict[tuple, Plan] = {}

    def reset(self) -> None:
        self._plans.clear()

    def run(self, q, k, v, mask, scale, forward: Forward, block: int | None) -> torch.Tensor:
        """Tensors are [batch, heads, tokens, head_dim], as is the result.

        Raises NoBackend if every backend that the policy allows refuses the call or breaks on it.
        """
        plan = self._plan(q, k, v, mask, forward)
        while plan.choice.backend is not None:
            backend = plan.choice.backend
            start = forward.start(q.device)
            try:
                result = backend.run(q, k, v, mask, scale)
            except Exception as error:  # the one place where a kernel may fail
                self._fail(plan, backend.name, error)
                continue
            record = self._record(plan, backend.name, forward, block)
            forward.stop(start, q.device, record)
            forward.add(record)
            return result
        raise NoBackend(plan.call, self.policy, plan.choice.rejected) from plan.error

    def _plan(self, q, k, v, mask, forward: Forward) -> Plan:
        role = forward.role(q.shape[2], k.shape[2])
        masked = None if mask is None else (mask.dtype, mask.shape)
        key = (role, q.shape, k.shape, v.shape[3], q.dtype, q.device, masked)
        plan = self._plans.get(key)
        if plan is None:
            call = Call.of(q, k, v, mask, role)
            plan = self._plans[key] = Plan(call, choose(call, self.environment, self.policy))
            log.debug("%s: %s", call.describe(), plan.choice)
        return plan

    def _record(self, plan: Plan, active: str, forward: Forward, block: int | None) -> Record:
        reason = plan.choice.reason
        wish = self.policy.backend
        return Record(plan.call, wish, active, "forced", reason, forward.step, block, forward.cond)

    def _fail(self, plan: Plan, name: str, error: Exception) -> None:
        if isinstance(error, Refused):
            plan.failed[name] = error.reasons
        else:
            log.warning("%s failed on %s", name, plan.call.describe(), exc_info=error)
            first_line = str(error).strip().partition("\n")[0]
            plan.failed[name] = (f"{type(error).__name__}: {first_line}",)
            plan.error = error
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        plan.choice = choose(plan.call, self.environment, self.policy, plan.failed)


class Observer:
    """Leaves calls to a function that the pack does not know, and tells what it ran.

    One call of each kind is profiled until `reset`; the others of that kind take over what was seen.
    """

    def __init__(self) -> None:
        self._seen: dict[Call, evidence.Sighting] = {}

    def reset(self) -> None:
        self._seen.clear()

    def run(
        self,
        call: Call,
        function: Callable[[], torch.Tensor],
        name: str,
        forward: Forward,
        block: int | None,
        reason: str = "",
    ) -> torch.Tensor:
        """Return the function's result. `name` is what to call it where the profiler knows nothing better."""
        forward.handled = False
        device = torch.device(call.device)
        wish = forward.wish or "host"
        record = Record(call, wish, name, "host", reason, forward.step, block, forward.cond)
        if call in self._seen:
            start = forward.start(device)
            result = function()
            forward.stop(start, device, record)
        else:
            result = self._watch(call, function)  # not timed: the profiler costs milliseconds
        if forward.handled:  # an override of ours further down took the call and recorded it
            return result
        if sighting := self._seen.get(call):
            record.active = "+".join(sighting.backends) or name
            record.evidence = "profiled"
        forward.add(record)
        return result

    def _watch(self, call: Call, function: Callable[[], torch.Tensor]) -> torch.Tensor:
        result, sighting = evidence.watch(function)
        if sighting is not None:
            self._seen[call] = sighting
        return result


def name_of(function: Callable) -> str:
    """How to call a function in a report: attention_sub_quad is `sub_quad`, others keep their full name."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if name.startswith("attention_"):
        return name.removeprefix("attention_")
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module.rpartition('.')[2]}.{name}"
