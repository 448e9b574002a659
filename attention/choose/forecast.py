"""What a kind of call will run on, as far as it is decided before there are tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..call import Call
from ..environment import Environment
from .measure.timings import Timing
from .measure.tuner import Measurement
from .policy import HOST, Policy, choose, eligible

BY_RULES = "the rules that are wired in decide by role, block and step"
ONLY = "nothing else can run it here"


@dataclass(frozen=True, slots=True)
class Forecast:
    """`active` is empty where it is not decided yet, `reason` says why in either case."""

    call: Call
    requested: str
    active: str
    reason: str

    def plain(self) -> dict:
        """As payloads have it. `math_gib`: the score matrix that math would write down for one call."""
        call = self.call
        sizes = {"heads": call.heads, "q_len": call.q_len, "kv_len": call.kv_len}
        gib = float(f"{call.score_bytes / 2**30:.4g}")
        told = {"requested": self.requested, "active": self.active, "reason": self.reason}
        return {"role": call.role, **sizes, **told, "math_gib": gib}


def forecast(
    call: Call, policy: Policy, environment: Environment, known: Mapping[str, Timing], host: str
) -> Forecast:
    """`known` are this machine's timings of such calls, `host` the name of the function that runs what is left alone."""
    if policy.backend == "auto":
        return _measured(call, policy, environment, known, host)
    choice = choose(call, environment, policy)
    name = choice.backend.name if choice.backend else ""
    return Forecast(call, policy.backend, host if choice.backend is HOST else name, choice.reason)


def _measured(call, policy, environment, known, host) -> Forecast:
    able = [backend.name for backend in eligible(call, environment, policy)]
    missing = [name for name in able if name not in known]
    if len(able) > 1 and missing:
        return Forecast(call, "auto", "", f"timed at the first call: {', '.join(able)}")
    found = {name: _measurement(name, known[name]) for name in able if name in known}
    choice = choose(call, environment, policy, measured=found)
    if choice.backend is None or choice.backend is HOST:
        return Forecast(call, "auto", host if choice.backend else "", choice.reason)
    if not found:
        return Forecast(call, "auto", choice.backend.name, ONLY)
    times = sorted((timing.milliseconds, name) for name, timing in known.items() if name in able)
    told = ", ".join(f"{name} {milliseconds:.3g} ms" for milliseconds, name in times)
    return Forecast(call, "auto", choice.backend.name, f"measured here: {told}")


def _measurement(name: str, timing: Timing) -> Measurement:
    return Measurement(name, timing.milliseconds, timing.first, timing.error)
