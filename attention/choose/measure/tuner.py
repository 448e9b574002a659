"""Times the backends that could run a call, on the call's own tensors, and checks what they compute."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from ... import failure
from ...backends import Backend
from ...call import Call, Inputs
from .matmul import BusyTimer
from .reference import Reference
from .timer import timer_for
from .turns import rounds

FORWARD_CALLS = (
    30  # attention calls of one kind in a forward: the 5B model's blocks, the fewest of Wan 2.2
)
LEAST_BUDGET = 50.0  # milliseconds; no forward of a Wan model is shorter
SURELY_SLOWER = 1.5  # by a first look, which the clock rate of an idle device distorts
CLEARLY_SLOWER = 1.15
TIE = 1.03
ROUNDS = 5  # for all that are not clearly slower
MOST_ROUNDS = 15  # for those that are still tied
BURSTS = (2.0, 20.0)  # milliseconds of one measurement: enough, and best where there is time for it
AHEAD = (2.0, 10.0)  # milliseconds of matrix products before it, likewise
MOST_CALLS = 200  # of one measurement
LINEAR = 22  # multiplications of a block's linear layers, over the square of its width: Wan 14B's; 5B has more
LONG_FIRST = 500.0  # milliseconds that a first call takes longer for plans or compilation, to be worth telling
USED_UP = "the time of one forward was used up"
STEADY = 50.0  # milliseconds; shorter measurements are made twice before a backend is dropped


@dataclass(frozen=True, slots=True)
class Measurement:
    """One backend on one call. `refusal` says why it must not be used, and is empty if it may; without times it was
    not timed, since the budget was used up.

    `milliseconds` is the median of a call, `first` the first call with plan building or compilation in it,
    `error` relative to `Reference`; each is None where it was not measured.
    """

    backend: str
    milliseconds: float | None = None
    first: float | None = None
    error: float | None = None
    refusal: str = ""

    @property
    def usable(self) -> bool:
        return not self.refusal and self.milliseconds is not None

    @property
    def untimed(self) -> bool:
        return not self.refusal and self.milliseconds is None


@dataclass(slots=True)
class _Trial:
    backend: Backend
    first: float
    error: float | None
    times: list[float] = field(default_factory=list)
    later: int = 0  # calls after the first two
    host: float = 0.0  # milliseconds in which the host queues a call
    ahead: float = 0.0  # milliseconds of what was queued before measurements

    @property
    def milliseconds(self) -> float:
        """The lower of two, since disturbances only add; the median of more."""
        return statistics.median(self.times) if len(self.times) > 2 else min(self.times)

    @property
    def spent(self) -> float:
        """Milliseconds of all its calls, the first one without what it built, and of what went ahead of them."""
        return (2 + self.later) * self.milliseconds + self.ahead

    def measurement(self) -> Measurement:
        return Measurement(self.backend.name, self.milliseconds, self.first, self.error)


@torch.no_grad()
def tune(
    call: Call,
    backends: Sequence[Backend],
    inputs: Inputs,
    forward_milliseconds: float | None = None,
) -> list[Measurement]:
    """Measure each backend, fastest first, those that must not be used last.

    The timed part stays below one forward: `forward_milliseconds` where it is known, else what a forward of a model
    with such calls takes at least. First calls are not counted in it, since they build plans and compile.
    """
    track = _Track(call, inputs, forward_milliseconds)
    trials: list[_Trial] = []
    failures: list[Measurement] = []
    for backend in backends:
        best = min((trial.milliseconds for trial in trials), default=None)
        if best is not None and _spent(trials) > track.budget(best):
            failures.append(Measurement(backend.name))
            continue
        outcome = track.first_look(backend)
        if isinstance(outcome, Measurement):
            failures.append(outcome)
        else:
            trials.append(outcome)
    if trials:
        failures += _finish(trials, track)
    trials.sort(key=lambda trial: trial.milliseconds)
    return [*(trial.measurement() for trial in trials), *failures]


@torch.no_grad()
def check(
    call: Call, backend: Backend, inputs: Inputs, expected: Reference | None = None
) -> Measurement:
    """Run once and compare; for timings that were made elsewhere. `expected` of these inputs, if it is there already."""
    expected = expected or Reference(inputs)
    outcome = _first(backend, call, inputs, expected, timer_for(inputs.q.device))
    if isinstance(outcome, _Trial):
        return Measurement(backend.name, None, outcome.first, outcome.error)
    return outcome


def describe(
    call: Call, measurements: Sequence[Measurement], labels: Callable[[str], str] = str
) -> str:
    """What was found, fastest first: `self 82,992: cuDNN 240 ms, flash 396 ms (1.65x slower)`."""
    timed = (m for m in measurements if m.milliseconds and m.usable)
    times = sorted((m.milliseconds or 0.0, m.backend, m.first or 0.0) for m in timed)
    parts = []
    for milliseconds, backend, first in times:
        remarks = [f"{milliseconds / times[0][0]:.2f}x slower"] if parts else []
        if first > LONG_FIRST + milliseconds:
            remarks.append(f"first call {first / 1e3:.1f} s")
        told = f" ({', '.join(remarks)})" if remarks else ""
        parts.append(f"{labels(backend)} {_milliseconds(milliseconds)}{told}")
    parts += [f"{labels(m.backend)} not used: {m.refusal}" for m in measurements if m.refusal]
    parts += [f"{labels(m.backend)} not timed: {USED_UP}" for m in measurements if m.untimed]
    lengths = (
        f"{call.q_len:,}" if call.q_len == call.kv_len else f"{call.q_len:,} x {call.kv_len:,}"
    )
    return f"{call.role} {lengths}: {', '.join(parts)}"


class _Track:
    """Where calls are timed: on a GPU behind matrix products, as in a model, so that it is not the clock rate of an
    idle device that decides, nor the time in which the host queues a call."""

    def __init__(self, call: Call, inputs: Inputs, forward: float | None) -> None:
        self._call = call
        self._inputs = inputs
        self._forward = forward
        self._expected = Reference(inputs)
        self._timer = BusyTimer(inputs.q.device, inputs.q.dtype)

    def budget(self, best: float) -> float:
        return self._forward or _budget(self._call, best, self._timer.rate)

    def first_look(self, backend: Backend) -> _Trial | Measurement:
        """First call, check, one measurement or two."""
        outcome = _first(backend, self._call, self._inputs, self._expected, self._timer)
        if not isinstance(outcome, _Trial):
            return outcome
        try:
            outcome.times.append(self._single(outcome))
            if outcome.milliseconds < STEADY:
                self.measure(outcome, _burst(outcome.milliseconds, BURSTS[0]), AHEAD[0])
        except Exception as error:
            return _broken(backend, error)
        return outcome

    def measure(self, trial: _Trial, burst: int, ahead: float) -> None:
        if self._timer.busy:
            burst = min(burst, max(1, int(ahead / trial.host)))
            trial.ahead += ahead
        else:
            trial.later += burst > 1
        trial.times.append(self._timer(lambda: trial.backend.run(*self._inputs), burst, ahead))
        trial.later += burst

    def _single(self, trial: _Trial) -> float:
        def run() -> None:
            start = time.perf_counter()
            trial.backend.run(*self._inputs)
            trial.host = (time.perf_counter() - start) * 1e3

        return self._timer(run, 1)


def _burst(milliseconds: float, work: float) -> int:
    return max(1, min(MOST_CALLS, math.ceil(work / max(milliseconds, 1e-3))))


def _first(backend, call, inputs, expected, stopwatch) -> _Trial | Measurement:
    results: list[torch.Tensor] = []
    try:
        first = stopwatch(lambda: results.append(backend.run(*inputs)), 1)
        error = expected.error(results.pop())
    except Exception as broken:
        return _broken(backend, broken)
    refusal = _inaccuracy(backend, call, error)
    if refusal:
        return Measurement(backend.name, None, first, error, refusal)
    return _Trial(backend, first, error)


def _broken(backend: Backend, error: Exception) -> Measurement:
    """As in the dispatcher: a kernel may fail, the next one is asked."""
    failure.release(error)
    return Measurement(backend.name, refusal=failure.words(error))


def _inaccuracy(backend: Backend, call: Call, error: float | None) -> str:
    limit = backend.tolerance.get(call.dtype)
    if error is None or limit is None or error <= limit:
        return ""
    if math.isinf(error):
        return "output not finite"
    return f"error {error:.1e}, needs at most {limit:.0e}"


def _finish(trials: list[_Trial], track: _Track) -> list[Measurement]:
    """Rounds between those that are close. Those that break meanwhile leave `trials` and are returned."""
    broken: list[Measurement] = []
    burst, ahead = 1, 0.0

    def racing(number: int) -> list[_Trial]:
        nonlocal burst, ahead
        close, burst, ahead = _round(trials, number, track)
        return close

    for number, trial in rounds(racing, MOST_ROUNDS):
        try:
            track.measure(trial, burst, ahead)
            if number == 0:  # the first look may have found an idle device
                trial.times = trial.times[-1:]
        except Exception as error:
            trials.remove(trial)
            broken.append(_broken(trial.backend, error))
    return broken


def _round(trials: list[_Trial], number: int, track: _Track) -> tuple[list[_Trial], int, float]:
    """Who takes part in it, nobody where it is decided or there is no time, its burst, its milliseconds ahead."""
    best = min((trial.milliseconds for trial in trials), default=0.0)
    close = [trial for trial in trials if trial.milliseconds <= _margin(number) * best]
    if len(close) < 2:
        return [], 1, 0.0
    left = track.budget(best) - _spent(trials)
    share = left / (ROUNDS * len(close))
    ahead = min(AHEAD[1], max(AHEAD[0], share / 3))
    burst = _burst(best, min(BURSTS[1], max(BURSTS[0], share - ahead)))
    length = sum(trial.milliseconds * (burst + 1) + ahead for trial in close)
    return close if length <= left else [], burst, ahead


def _margin(number: int) -> float:
    if number == 0:
        return SURELY_SLOWER
    return CLEARLY_SLOWER if number < ROUNDS else TIE


def _spent(trials: list[_Trial]) -> float:
    return sum(trial.spent for trial in trials)


def _budget(call: Call, best: float, rate: float) -> float:
    """Milliseconds of a forward. What goes beside these calls in it runs at `rate`, operations of one millisecond, or,
    where that is not known and 0, at twice the rate of the calls, to be on the safe side."""
    width = call.heads * call.head_dim
    beside = 4 * call.q_len * width * call.q_len + LINEAR * width**2 * call.q_len
    if call.q_len == call.kv_len:
        beside -= 4 * call.q_len * width * call.q_len
    rest = beside * call.batch / rate if rate else beside * call.batch / call.flops * best / 2
    return max(LEAST_BUDGET, FORWARD_CALLS * (best + rest))


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"
