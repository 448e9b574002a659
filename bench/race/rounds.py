"""The race in one case."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...attention.backends import BACKENDS, Backend
from ...attention.call import Inputs
from ...attention.choose.measure.reference import Reference
from ...attention.choose.measure.timer import timer_for
from ...attention.choose.measure.tuner import check
from ...attention.choose.measure.turns import rounds
from ...attention.environment import free_memory, probe
from ...attention.failure import words
from ...attention.record.evidence import watch
from ..benchmark import Progress
from ..results.row import Results, Row
from .case import Case
from .device import attempt, begin_peak, free, peak
from .rate import BURST, Rate, burst_for

SLOW = 1.5  # times the fastest: a backend that takes longer, and a call of it LONG ms, is timed in FEW rounds
LONG = 250.0
FEW = 3
UNTIMED = 3  # one call in so many of a burst goes before: the clock rate still follows the power of what ran last
QUEUES = ("cuda",)  # devices that the host hands calls to without waiting
# Milliseconds of a call's matrix products: the host may take as long to queue the call.
SHORT = 0.15
LEAD = 25.0  # milliseconds of matrix products before such calls, in which the host queues them
MOST_QUEUED = 100
TRIED = 5
OVERSHOOT = 2.0  # fp8 kernels run at up to twice the rate of 16-bit matrix products
COPIES = 3  # some kernels make copies of their inputs
UNFINISHED = "not timed, the benchmark ended before its turn"


@dataclass(slots=True)
class _Contender:
    """One backend. A measurement is `burst` calls after `ahead` of them; `steps` is what it owes the progress bar."""

    backend: Backend
    row: Row
    steps: int = 0
    burst: int = 1
    ahead: int = 0
    racing: bool = False


class CaseRace:
    """First calls, then rounds in which every backend takes its turn, in another order each time."""

    def __init__(
        self,
        case: Case,
        backends: Sequence[Backend],
        rate: Rate | None,
        results: Results,
        progress: Progress,
        rounds: int,
        settings: str,
    ) -> None:
        self._case = case
        self._device = torch.device(case.call.device)
        self._timer = timer_for(self._device)
        self._rate = rate
        self._rates: list[float] = []
        self._results = results
        self._progress = progress
        self._rounds = rounds
        self._contenders = [
            _Contender(backend, case.row(backend, settings)) for backend in backends
        ]
        for contender in self._contenders:
            contender.steps = 0 if self._refusals(contender) else 1 + rounds
        self._quickest = case.call.flops / (rate.latest * 1e9) / OVERSHOOT if rate else 0.0
        self._short = self._device.type in QUEUES and 0 < self._quickest * OVERSHOOT < SHORT
        self._step = max(BURST, 4 * self._quickest)
        self.total = self._step * sum(contender.steps for contender in self._contenders)

    def run(self, seed: int) -> None:
        self._results.rows += [contender.row for contender in self._contenders]
        try:
            self._race(seed)
        finally:
            for contender in self._contenders:
                if not contender.row.times and not contender.row.reason:
                    contender.row.reason = UNFINISHED
            free(self._device)

    def _race(self, seed: int) -> None:
        prepared = self._shortage() or self._made(seed)
        if isinstance(prepared, str):
            for contender in self._contenders:
                self._retire(contender, prepared)
            return
        inputs, expected = prepared
        self._measure_rate()
        for contender in self._contenders:
            self._begin(contender, inputs, expected)
        for number, contender in rounds(self._racing, self._rounds):
            if self._guarded(contender, lambda c=contender: self._time(c, inputs)):
                self._advance(contender, 1, f"{number + 1}/{self._rounds}")
        self._measure_rate()

    def _made(self, seed: int) -> tuple[Inputs, Reference] | str:
        try:
            inputs = self._case.inputs(seed)
            return inputs, Reference(inputs)
        except torch.OutOfMemoryError as error:
            return words(error)

    def _shortage(self) -> str:
        """On a GPU a call that is too large ends in an error; on a CPU the system may end the process instead."""
        copies = COPIES if self._device.type == "cpu" else 1
        needed, free = copies * self._case.bytes, free_memory(str(self._device))
        if free is None or needed <= free:
            return ""
        what = "q, k, v, the output and copies of them" if copies > 1 else "q, k, v and the output"
        return f"{what} need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free"

    def _refusals(self, contender: _Contender) -> list[str]:
        return contender.backend.refusals(self._case.call, probe())

    def _begin(self, contender: _Contender, inputs: Inputs, expected: Reference) -> None:
        """First call, check, and how many calls make a measurement."""
        reasons = self._refusals(contender)
        if reasons:
            self._retire(contender, "; ".join(reasons))
            return
        before = begin_peak(self._device)
        found = check(self._case.call, contender.backend, inputs, expected)
        contender.row.first, contender.row.error = found.first, found.error
        contender.row.peak_gib = peak(self._device, before) if found.first else None
        if found.refusal:
            self._retire(contender, found.refusal)
        elif self._guarded(contender, lambda: self._prepare(contender, inputs)):
            contender.racing = True
            self._advance(contender, 1, "first")

    def _prepare(self, contender: _Contender, inputs: Inputs) -> None:
        contender.row.active = name = contender.backend.name
        if name not in BACKENDS:  # a function of the host, which chooses by itself
            _, seen = watch(lambda: contender.backend.run(*inputs), self._device)
            contender.row.active = (seen and seen.name) or contender.backend.label
        if self._short:
            contender.burst = self._queued_in_time(contender, inputs)
        elif self._quickest < BURST / 2:
            calls = burst_for(lambda times: self._milliseconds(contender, inputs, times))
            contender.ahead = math.ceil(calls / UNTIMED) if calls > 1 else 0
            contender.burst = calls - contender.ahead

    def _queued_in_time(self, contender: _Contender, inputs: Inputs) -> int:
        """How many calls the host queues while the matrix products before them run."""
        start = time.perf_counter()
        for _ in range(TRIED):
            contender.backend.run(*inputs)
        host = (time.perf_counter() - start) * 1e3 / TRIED
        return max(1, min(MOST_QUEUED, int(LEAD / host)))

    def _racing(self, number: int) -> list[_Contender]:
        if number == FEW:
            self._drop_slow()
        return [contender for contender in self._contenders if contender.racing]

    def _measure_rate(self) -> None:
        """Before the first calls and after the last round: in between it would change the clock of the next one."""
        if self._rate is None:
            return
        self._rates.append(self._rate.measure())
        for contender in self._contenders:
            if contender.row.times:
                contender.row.rate = statistics.median(self._rates)

    def _time(self, contender: _Contender, inputs: Inputs) -> None:
        contender.row.times.append(self._milliseconds(contender, inputs, contender.burst))
        contender.row.rate = statistics.median(self._rates) if self._rates else None

    def _milliseconds(self, contender: _Contender, inputs: Inputs, times: int) -> float:
        run, rate = lambda: contender.backend.run(*inputs), self._rate
        if self._short and rate:
            return self._timer(run, times, lambda: rate.queue(LEAD))
        return self._timer(run, times, lambda: [run() for _ in range(contender.ahead)])

    def _drop_slow(self) -> None:
        """More rounds of the longest calls would take most of the time; those vary least."""
        racing = [contender for contender in self._contenders if contender.racing]
        fastest = min((contender.row.ms or 0.0 for contender in racing), default=0.0)
        for contender in racing:
            if (contender.row.ms or 0.0) > max(SLOW * fastest, LONG):
                contender.racing = False
                self._note_few()
                self._advance(contender, contender.steps, "slow")

    def _note_few(self) -> None:
        sentence = (
            f"Calls of more than {LONG:.0f} ms that take over {SLOW:g} times as long as the fastest were timed "
            f"in {FEW} rounds, the others in {self._rounds}."
        )
        if sentence not in self._results.notes:
            self._results.notes.append(sentence)

    def _guarded(self, contender: _Contender, work: Callable[[], None]) -> bool:
        well = attempt(work, contender.row, self._device)
        if not well:
            self._retire(contender, contender.row.reason)
        return well

    def _retire(self, contender: _Contender, reason: str) -> None:
        contender.row.reason, contender.racing = reason, False
        self._advance(contender, contender.steps, "not used")

    def _advance(self, contender: _Contender, steps: int, what: str) -> None:
        steps = min(steps, contender.steps)
        contender.steps -= steps
        if steps:
            name = f"{self._case.title} {contender.backend.name} {what}"
            self._progress.advance(steps * self._step, name)
