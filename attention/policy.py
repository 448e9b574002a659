"""Which backend a call gets, and why not the others. Pure: facts in, choice out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .backends import BACKENDS, Backend
from .call import Call
from .environment import Environment

WISHES = ("auto", *BACKENDS, "host")
ON_REFUSAL = ("next best", "stop")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asked for."""

    backend: str = "auto"
    on_refusal: str = "next best"

    def __post_init__(self) -> None:
        _one_of("backend", self.backend, WISHES)
        _one_of("on_refusal", self.on_refusal, ON_REFUSAL)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A backend that was asked first and cannot run the call."""

    name: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.reasons)}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend for a call, None if every one refused, and those that were asked before it."""

    backend: Backend | None
    rejected: tuple[Rejection, ...] = ()

    @property
    def reason(self) -> str:
        """One sentence a rejected backend, empty if the first one asked accepted."""
        if len(self.rejected) == 1:
            return "; ".join(self.rejected[0].reasons)
        return " | ".join(map(str, self.rejected))


class NoBackend(RuntimeError):
    """No allowed backend can run this call. `rejected` holds each one's reasons."""

    def __init__(self, call: Call, policy: Policy, rejected: tuple[Rejection, ...]) -> None:
        self.call = call
        self.rejected = rejected
        lines = [
            f"Attention Backend '{policy.backend}' cannot run this call.",
            f"  {call.describe()}",
        ]
        lines += [f"  {rejection}" for rejection in rejected]
        super().__init__("\n".join([*lines, _advice(policy, rejected)]))


def auto_order(call: Call, environment: Environment) -> tuple[str, ...]:
    """The order in which `auto` asks the backends: cuDNN leads where it was measured to win."""
    capability = environment.capability(call.device)
    if capability and capability[0] in (9, 10):
        return ("cudnn", "flash", "efficient", "math")
    return ("flash", "cudnn", "efficient", "math")


def candidates(call: Call, environment: Environment, policy: Policy) -> tuple[str, ...]:
    order = auto_order(call, environment)
    if policy.backend == "auto":
        return order
    if policy.on_refusal == "stop":
        return (policy.backend,)
    return (policy.backend, *(name for name in order if name != policy.backend))


def choose(
    call: Call,
    environment: Environment,
    policy: Policy,
    failed: Mapping[str, tuple[str, ...]] | None = None,
) -> Choice:
    """Take the first candidate that does not refuse. `failed` holds backends that broke while running."""
    rejected = []
    for name in candidates(call, environment, policy):
        backend = BACKENDS[name]
        reasons = (failed or {}).get(name) or backend.refusals(call, environment)
        if not reasons:
            return Choice(backend, tuple(rejected))
        rejected.append(Rejection(name, tuple(reasons)))
    return Choice(None, tuple(rejected))


def _advice(policy: Policy, rejected: tuple[Rejection, ...]) -> str:
    if policy.on_refusal == "stop" and policy.backend != "auto":
        return "Set on_refusal to 'next best', or choose another backend."
    if any(rejection.name == "math" for rejection in rejected):
        return "Lower the resolution or the frame count, or set backend to 'host'."
    return "Set backend to 'host' to let ComfyUI decide."


def _one_of(what: str, given: str, expected: tuple[str, ...]) -> None:
    if given not in expected:
        names = ", ".join(f"'{name}'" for name in expected)
        raise ValueError(f"unknown {what} '{given}'; expected one of {names}")
