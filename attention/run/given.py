"""A call on its way through the dispatcher: as it was made, as the kernels take it, and the way back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import torch

from ..call import Inputs


class Given(Protocol):
    """`back` is the function that runs the call where it came from."""

    @property
    def back(self) -> Callable: ...

    def facts(self) -> tuple:
        """What of the tensors decides, cheap to read: two calls with the same facts are of one kind."""
        ...

    def device(self) -> torch.device: ...

    def inputs(self) -> Inputs:
        """As the kernels take it; Wan's tensors need views for that, which calls that are left alone are spared."""
        ...

    def leave(self) -> torch.Tensor:
        """What runs where the call came from, in the shape that belongs there."""
        ...


class Split:
    """A call whose tensors are apart by heads from the start."""

    __slots__ = ("_inputs", "_leave")

    def __init__(self, inputs: Inputs, leave: functools.partial) -> None:
        self._inputs = inputs
        self._leave = leave

    @property
    def back(self) -> Callable:
        return self._leave.func

    def facts(self) -> tuple:
        return facts(*self._inputs[:4])

    def device(self) -> torch.device:
        return self._inputs.q.device

    def inputs(self) -> Inputs:
        return self._inputs

    def leave(self) -> torch.Tensor:
        return self._leave()


def facts(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> tuple:
    strides = q.stride(-1), k.stride(-1), v.stride(-1)
    shown = None if mask is None else (mask.dtype, mask.shape)
    return q.shape, k.shape, v.shape, q.dtype, q.device, strides, shown
