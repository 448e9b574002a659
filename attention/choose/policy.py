"""Which backend a call gets, and why not the others. Pure: facts in, choice out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ..backends import BACKENDS, Backend, Kernel
from ..call import Call
from ..environment import Environment
from .measure.tuner import Measurement

ON_REFUSAL = ("next best", "stop")
PRECISIONS = ("exact", "allow approximate")
# Torch's swaps run the same code as fa3 and fa4 with a detour.
EXACT_KERNELS = ("fa3", "fa4", "fa2", "fastflash", "xformers")
PROTECTED = "the model asks for full precision in these calls"
APPROXIMATE_KERNELS = ("fa3_fp8", "sage3", "sage", "int8")


def _passed_back(*tensors: object) -> NoReturn:
    raise TypeError("calls that are left alone go back to who made them")


HOST = Backend("host", "left alone", lambda call, environment: [], _passed_back, {})
CHOOSABLE = ("cpu", "cuda", "mps")  # where torch lets one choose its kernel
COMPARED = ("cpu", "cuda")  # where `auto` has something to choose from
NOT_BY_ONE = "torch's kernels cannot be chosen one by one on {}"


def wishes() -> tuple[str, ...]:
    """What a user can ask for; whoever embeds the pack may have registered backends of its own."""
    return ("auto", *BACKENDS, "host")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asked for.

    `precision` and `max_error` bind `auto` only: an approximate backend is taken where its relative error on the
    model's own tensors is at most `max_error`.
    """

    backend: str = "auto"
    on_refusal: str = "next best"
    precision: str = "exact"
    max_error: float = 0.03

    def __post_init__(self) -> None:
        _one_of("backend", self.backend, wishes())
        _one_of("on_refusal", self.on_refusal, ON_REFUSAL)
        _one_of("precision", self.precision, PRECISIONS)
        if not 0 < self.max_error < 1:
            raise ValueError(f"max_error {self.max_error}, needs more than 0 and less than 1")


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
    """No allowed backend can run this call. `rejected` holds each one's reasons, `sentence` and `advice` the words.

    `step` and `block` are where it was made, as far as that is known.
    """

    __module__ = "wanattn"  # hosts show it before the name
    step: int | None = None
    block: int | None = None

    def __init__(self, call: Call, policy: Policy, rejected: tuple[Rejection, ...]) -> None:
        self.call = call
        self.rejected = rejected
        lines = [
            f"Attention Backend '{policy.backend}' cannot run this call.",
            f"  {call.describe()}",
        ]
        lines += [f"  {rejection}" for rejection in rejected]
        self.sentence = " | ".join(map(str, rejected))
        self.advice = _advice(policy, rejected)
        super().__init__("\n".join([*lines, self.advice]))


def auto_order(call: Call, environment: Environment) -> tuple[str, ...]:
    """The order in which `auto` asks the backends: cuDNN leads where it was measured to win."""
    capability = environment.capability(call.device)
    if capability and capability[0] in (9, 10):
        return ("cudnn", "flash", "efficient", "math")
    return ("flash", "cudnn", "efficient", "math")


def installed(
    call: Call, names: Sequence[str], backends: Mapping[str, Backend] = BACKENDS
) -> tuple[str, ...]:
    """Those optional kernels whose package loads; on a device without any, none is imported."""
    if call.device_type != "cuda":
        return ()
    kernels = (backends[name] for name in names)
    return tuple(k.name for k in kernels if isinstance(k, Kernel) and not k.absence)


def candidates(
    call: Call,
    environment: Environment,
    policy: Policy,
    backends: Mapping[str, Backend] = BACKENDS,
) -> tuple[str, ...]:
    """The names in the order in which they are asked; none where calls are left alone."""
    order = auto_order(call, environment)
    if policy.backend == "host":
        return ()
    if policy.backend == "auto":
        extra = installed(call, EXACT_KERNELS, backends)
        if policy.precision == "allow approximate":
            extra += installed(call, APPROXIMATE_KERNELS, backends)
        return (*extra, *order)
    if policy.on_refusal == "stop":
        return (policy.backend,)
    return (policy.backend, *(name for name in order if name != policy.backend))


def eligible(
    call: Call,
    environment: Environment,
    policy: Policy,
    known: Mapping[str, Backend] = BACKENDS,
) -> tuple[Backend, ...]:
    """The candidates that do not refuse the call: what `auto` measures.

    On a GPU math is left out where a fused kernel can run: it cannot win, and writes down the whole score matrix.
    """
    backends = [known[name] for name in candidates(call, environment, policy, known)]
    able = [backend for backend in backends if not refusals(backend, call, environment)]
    if call.device_type == "cuda" and len(able) > 1:
        able = [backend for backend in able if backend.name != "math"]
    return tuple(able)


def choose(
    call: Call,
    environment: Environment,
    policy: Policy,
    failed: Mapping[str, tuple[str, ...]] | None = None,
    measured: Mapping[str, Measurement] | None = None,
    backends: Mapping[str, Backend] = BACKENDS,
) -> Choice:
    """Take the first candidate that does not refuse. `failed` holds backends that broke while running.

    `auto` asks the measured ones first, the fastest before the others. HOST is chosen where the user wants it, and
    where nothing else can be.
    """
    if policy.backend == "host":
        return Choice(HOST)
    if reason := unchoosable(call.device_type, policy):
        return Choice(HOST, (Rejection(policy.backend, (reason,)),))
    rejected = []
    measured = measured or {}
    for name in _by_speed(candidates(call, environment, policy, backends), measured):
        backend = backends[name]
        reasons = (failed or {}).get(name) or refusals(backend, call, environment)
        reasons = reasons or _doubts(backend, measured.get(name), policy)
        if not reasons:
            return Choice(backend, tuple(rejected))
        rejected.append(Rejection(name, tuple(reasons)))
    return Choice(None, tuple(rejected))


def unchoosable(device: str, policy: Policy) -> str:
    """Why calls on a device of this type are left alone, empty where they are not.

    A named backend that must run or stop the run gets its say on any.
    """
    if policy.backend == "auto" and device in set(CHOOSABLE) - set(COMPARED):
        return f"auto has nothing to choose from on {device}"
    stops = policy.on_refusal == "stop" and policy.backend != "auto"
    return "" if device in CHOOSABLE or stops else NOT_BY_ONE.format(device)


def refusals(backend: Backend, call: Call, environment: Environment) -> Sequence[str]:
    reasons = [PROTECTED] if call.protected and not backend.exact else []
    return reasons or backend.refusals(call, environment)


def _by_speed(names: tuple[str, ...], measured: Mapping[str, Measurement]) -> list[str]:
    def milliseconds(name: str) -> float:
        found = measured.get(name)
        return found.milliseconds or math.inf if found and found.usable else math.inf

    return sorted(names, key=milliseconds)


def _doubts(backend: Backend, found: Measurement | None, policy: Policy) -> list[str]:
    """What a measurement says against a backend that accepts the call."""
    if policy.backend != "auto":
        return []
    if found and found.refusal:
        return [found.refusal]
    if backend.exact:
        return []
    error = found.error if found else None
    if error is None:
        return ["error not measured on this model's tensors"]
    if error > policy.max_error:
        return [f"error {error:.1e} on this model's tensors, needs at most {policy.max_error:g}"]
    return []


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
