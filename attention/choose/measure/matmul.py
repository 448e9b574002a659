"""Plain matrix products: what makes a device as busy and as warm as a model's linear layers leave it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...environment import free_memory
from .timer import timer_for

SIDE = 4096
SMALLEST = 512
SHARE = 16  # of the free memory the matrices take this part at most
PROBED = {"cuda": 20}  # products in the measurement of one: on a GPU enough to raise its clocks


class MatrixProducts:
    """Square matrices of one dtype to multiply. RuntimeError where the device cannot."""

    def __init__(self, device: torch.device, dtype: torch.dtype, side: int = SIDE) -> None:
        side = _fitting(side, device, dtype)
        generator = torch.Generator(device).manual_seed(0)
        self._left, self._right = (
            torch.randn(side, side, dtype=dtype, device=device, generator=generator)
            for _ in range(2)
        )
        self._out = torch.empty_like(self._left)
        self._timer = timer_for(device)
        self.flops = 2 * side**3
        self.multiply()  # loads the library
        self.milliseconds(PROBED.get(device.type, 1))

    def multiply(self) -> None:
        torch.mm(self._left, self._right, out=self._out)

    def milliseconds(self, times: int) -> float:
        """Of one product in so many."""
        self._one = self._timer(self.multiply, times)
        return self._one

    @property
    def rate(self) -> float:
        """Floating-point operations in a millisecond."""
        return self.flops / max(self._one, 1e-3)

    def queue(self, milliseconds: float) -> None:
        """Products of about that length, not waited for: what is queued next starts on a device in the same state,
        whatever ran before, and the host gets ahead of it."""
        for _ in range(round(milliseconds / max(self._one, 1e-3))):
            self.multiply()


class BusyTimer:
    """Times a function on a GPU that matrix products have made busy, as a model does; elsewhere by itself."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._timer = timer_for(device)
        self._products = _products(device, dtype)

    @property
    def busy(self) -> bool:
        return self._products is not None

    @property
    def rate(self) -> float:
        """Of the products, 0 where there are none."""
        return self._products.rate if self._products else 0.0

    def __call__(self, run: Callable[[], object], times: int, ahead: float = 0.0) -> float:
        """Milliseconds of one of so many calls, behind `ahead` milliseconds of products."""
        products = self._products
        if products is None or not ahead:
            return self._timer(run, times)
        return self._timer(run, times, lambda: products.queue(ahead))


def _products(device: torch.device, dtype: torch.dtype) -> MatrixProducts | None:
    if device.type != "cuda":
        return None
    try:
        return MatrixProducts(device, dtype)
    except RuntimeError:  # no memory for them
        return None


def _fitting(side: int, device: torch.device, dtype: torch.dtype) -> int:
    free = free_memory(str(device))
    while free and side > SMALLEST and 3 * side * side * dtype.itemsize > free // SHARE:
        side //= 2
    return side
