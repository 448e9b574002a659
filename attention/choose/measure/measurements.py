"""How fast and how exact each backend is for a call: from this session, from the file, or measured now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from ...backends import Backend, process
from ...backends.kernel import Kernel
from ...call import Call, Inputs
from .timings import Timing, Timings, key_of
from .tuner import Measurement, check, tune


class Measurements:
    """One model's view. `timings_of` gives the timings of a device, shared by all models.

    Speeds are taken over from the file. The error of an approximate backend is not: it depends on the model's own
    tensors, so it is measured once a model. Refusals are kept until `forgive` only.
    `milliseconds` is what measuring has taken so far.
    """

    def __init__(self, timings_of: Callable[[str], Timings]) -> None:
        self.milliseconds = 0.0
        self._timings_of = timings_of
        self._found: dict[tuple[str, str], Measurement] = {}

    def problem(self, call: Call) -> str:
        """What is wrong with the file of timings, empty if nothing."""
        return self._timings_of(call.device).problem

    def forgive(self) -> None:
        """Forget refusals, such as one for want of memory: the next run may have more."""
        self._found = {place: found for place, found in self._found.items() if found.usable}

    def of(self, call: Call, backends: Sequence[Backend], inputs: Inputs) -> dict[str, Measurement]:
        """A measurement of each of these backends by name; all of them accept the call."""
        self._remember(call, backends, inputs)
        new = [backend for backend in backends if (key_of(call), backend.name) not in self._found]
        if new:
            found = self._tune(call, new, inputs)
            self._keep(call, {backend.name: backend for backend in new}, found)
        return {backend.name: self._found[key_of(call), backend.name] for backend in backends}

    def _tune(self, call: Call, backends: Sequence[Backend], inputs: Inputs) -> list[Measurement]:
        if inputs.q.is_cuda:
            torch.cuda.synchronize(inputs.q.device)  # what is queued before it is not its time
        start = time.perf_counter()
        found = tune(call, backends, inputs)
        self.milliseconds += (time.perf_counter() - start) * 1e3
        return found

    def _remember(self, call: Call, backends: Sequence[Backend], inputs: Inputs) -> None:
        known = self._timings_of(call.device).claim(call)
        for backend in backends:
            timing = known.get(backend.name)
            place = (key_of(call), backend.name)
            if timing is None or place in self._found or timing.version != _version(backend):
                continue
            if process.replaced(backend.name):  # its time is that of torch's own kernel
                continue
            checked = None if backend.exact else check(call, backend, inputs)
            self._found[place] = _measurement(backend, timing, checked)

    def _keep(self, call: Call, backends: dict[str, Backend], found: Sequence[Measurement]) -> None:
        timings = {}
        for measurement in found:
            name = measurement.backend
            self._found[key_of(call), name] = measurement
            if measurement.usable and not process.replaced(
                name
            ):  # another's time, under torch's name
                timings[name] = timing_of(backends[name], measurement)
        if timings:
            self._timings_of(call.device).write(call, timings)


def timing_of(backend: Backend, found: Measurement) -> Timing:
    """What is written down of a usable measurement; `auto` goes by it until the kernel's package changes."""
    return Timing(found.milliseconds or 0.0, found.first or 0.0, found.error, _version(backend))


def _measurement(backend: Backend, timing: Timing, checked: Measurement | None) -> Measurement:
    error = timing.error if checked is None else checked.error
    refusal = "" if checked is None else checked.refusal
    return Measurement(backend.name, timing.milliseconds, timing.first, error, refusal)


def _version(backend: Backend) -> str:
    """Of the package that the kernel comes in; torch's own kernels go with torch."""
    return (backend.package.version or "") if isinstance(backend, Kernel) else ""
