"""What was decided for one kind of call, and decided anew where a kernel breaks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from .. import failure
from ..backends import Backend, Refused, process
from ..call import Call, Inputs
from ..environment import Environment
from .measure.measurements import Measurements
from .measure.tuner import Measurement, describe
from .policy import Choice, Policy, candidates, choose, eligible, refusals

MEASURED = ("cpu", "cuda")  # devices that can be timed
NONE = Choice(None)
log = logging.getLogger("wanattn")


@dataclass(slots=True)
class Plan:
    """`failed` holds the backends that cannot run these tensors or broke on them, with the reasons."""

    call: Call
    policy: Policy
    choice: Choice = NONE
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    measured: dict[str, Measurement] = field(default_factory=dict)
    error: Exception | None = None
    remark: str = ""


class Plans:
    """Makes plans on one machine. `tell` is given a sentence for each thing that was found out."""

    def __init__(
        self,
        environment: Environment,
        measurements: Measurements | None,
        backends: Mapping[str, Backend],
        tell: Callable[[str], None],
    ) -> None:
        self.environment = environment
        self.backends = backends
        self._measurements = measurements
        self._tell = tell

    def make(self, call: Call, policy: Policy, inputs: Inputs) -> Plan:
        plan = Plan(call, policy)
        self._ask_gates(plan, inputs)
        self._measure(plan, inputs)
        self._choose(plan)
        log.debug("%s: %s", call.describe(), plan.choice)
        return plan

    def _ask_gates(self, plan: Plan, inputs: Inputs) -> None:
        """Those of the backends that the facts of the call let through: their own sentences say more."""
        for name in candidates(plan.call, self.environment, plan.policy, self.backends):
            backend = self.backends[name]
            if backend.gate is None or refusals(backend, plan.call, self.environment):
                continue
            if reasons := backend.gate(inputs):
                plan.failed[name] = tuple(reasons)

    def fail(self, plan: Plan, error: Exception) -> None:
        """The chosen backend broke: ask the next one."""
        name = plan.choice.backend.name if plan.choice.backend else ""
        if isinstance(error, Refused):
            plan.failed[name] = error.reasons
        else:
            log.warning("%s failed on %s", name, plan.call.describe(), exc_info=error)
            plan.failed[name] = (failure.words(error),)
            plan.error = error
        failure.release(error)
        self._choose(plan)

    def distrust(self, plan: Plan, name: str, reason: str) -> None:
        plan.failed[name] = (reason,)
        self._choose(plan)

    def _choose(self, plan: Plan) -> None:
        found = (plan.failed, plan.measured)
        plan.choice = choose(plan.call, self.environment, plan.policy, *found, self.backends)
        backend = plan.choice.backend
        on_gpu = plan.call.device_type == "cuda"
        plan.remark = process.replaced(backend.name) if on_gpu and backend else ""

    def _measure(self, plan: Plan, inputs: Inputs) -> None:
        """What `auto` goes by on the devices that can be timed."""
        call = plan.call
        if self._measurements is None or plan.policy.backend != "auto":
            return
        if call.device_type not in MEASURED or capturing(inputs.q):
            return
        able = eligible(call, self.environment, plan.policy, self.backends)
        backends = [backend for backend in able if backend.name not in plan.failed]
        if len(backends) < 2:
            return
        try:
            plan.measured = self._measurements.of(call, backends, inputs)
        except Exception as error:  # measuring is a help, never a condition
            log.warning("%s was not measured", call.describe(), exc_info=error)
            self._tell(f"{call.role} calls not measured ({failure.words(error)})")
            failure.release(error)
            return
        found = describe(call, list(plan.measured.values()))
        self._tell(found)
        log.info("%s", found)
        if problem := self._measurements.problem(call):
            self._tell(problem)


def capturing(tensor: torch.Tensor) -> bool:
    """Whether torch records a CUDA graph: what is launched then runs again with each replay, on memory of the graph."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()
