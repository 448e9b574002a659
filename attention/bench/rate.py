"""How fast this card multiplies plain matrices: the measure of what a kernel makes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from ..environment import free_memory
from ..timer import timer_for

SIDES = {"cuda": 8192, "cpu": 1024}
OTHER_SIDE = 4096
SMALLEST = 512
SHARE = 16  # of the free memory the matrices take this part at most
BURST = 40.0  # milliseconds of work that make host overhead vanish from a measurement
AHEAD = 10.0  # milliseconds of products before each measurement
MOST = 1000  # calls of one burst: about what a device queues before the host must wait


def burst_for(time_of: Callable[[int], float]) -> int:
    """How many calls last BURST; `time_of(n)` gives the milliseconds of one of n calls."""
    rough = time_of(1)
    if rough >= 4 * BURST:  # a shorter one may have been held up
        return 1
    closer = time_of(max(1, min(MOST, math.ceil(BURST / 4 / max(rough, 1e-3)))))
    return max(1, min(MOST, math.ceil(BURST / max(closer, 1e-3))))


class Rate:
    """Square matrices of one dtype, multiplied for a burst at a time. RuntimeError where the device cannot."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        side = _side(device, dtype)
        generator = torch.Generator(device).manual_seed(0)
        self._left, self._right = (
            torch.randn(side, side, dtype=dtype, device=device, generator=generator)
            for _ in range(2)
        )
        self._out = torch.empty_like(self._left)
        self._flops = 2 * side**3
        self._timer = timer_for(device)
        self._milliseconds(1)  # loads the library
        self._burst = burst_for(self._milliseconds)
        self.latest = self.measure()

    def measure(self) -> float:
        """TFLOP/s of one burst."""
        self.latest = self._flops / self._milliseconds(self._burst) / 1e9
        return self.latest

    def ahead(self) -> None:
        """Queue products and do not wait: every kernel then starts on a device in the same state, as busy and as
        warm as the linear layers of a model leave it, and the host gets ahead of it."""
        for _ in range(math.ceil(self._burst * AHEAD / BURST)):
            torch.mm(self._left, self._right, out=self._out)

    def warm_up(self, seconds: float) -> None:
        """Work until the clocks are up."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.measure()

    def _milliseconds(self, times: int) -> float:
        return self._timer(lambda: torch.mm(self._left, self._right, out=self._out), times)


def _side(device: torch.device, dtype: torch.dtype) -> int:
    side, free = SIDES.get(device.type, OTHER_SIDE), free_memory(str(device))
    while free and side > SMALLEST and 3 * side * side * dtype.itemsize > free // SHARE:
        side //= 2
    return side
