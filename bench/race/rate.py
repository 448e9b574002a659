"""How fast this card multiplies plain matrices: the measure of what a kernel makes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from ...attention.choose.measure.matmul import SIDE, MatrixProducts

SIDES = {"cuda": 8192, "cpu": 1024}
BURST = 60.0  # milliseconds of work: host overhead vanishes in it, and the clock rate settles
MOST = 1000  # calls of one burst: about what a device queues before the host must wait


def burst_for(time_of: Callable[[int], float]) -> int:
    """How many calls last BURST; `time_of(n)` gives the milliseconds of one of n calls."""
    rough = time_of(1)
    if rough >= 4 * BURST:  # a shorter one may have been held up
        return 1
    closer = time_of(max(1, min(MOST, math.ceil(BURST / 4 / max(rough, 1e-3)))))
    return max(1, min(MOST, math.ceil(BURST / max(closer, 1e-3))))


class Rate:
    """The rate of products of one dtype, a burst at a time. RuntimeError where the device cannot multiply."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._products = MatrixProducts(device, dtype, SIDES.get(device.type, SIDE))
        self._burst = burst_for(self._products.milliseconds)
        self.latest = self.measure()

    def measure(self) -> float:
        """TFLOP/s of one burst."""
        milliseconds = self._products.milliseconds(self._burst)
        self.latest = self._products.flops / milliseconds / 1e9
        return self.latest

    def queue(self, milliseconds: float) -> None:
        """Products of about that length, not waited for."""
        self._products.queue(milliseconds)

    def warm_up(self, seconds: float) -> None:
        """Work until the clocks are up."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.measure()
