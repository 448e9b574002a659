"""What a backend is: a name, its refusals, and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ..call import Call, Inputs
from ..environment import Environment

Run = Callable[..., torch.Tensor]


class Refused(RuntimeError):
    """A kernel would not take a call that the rules let through. `reasons` are its own words."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(reasons))


@dataclass(frozen=True, slots=True)
class Backend:
    """One attention kernel.

    `refusals(call, environment)` gives a sentence for each reason why the kernel cannot run this call; none
    means that it can. `gate` does the same for what only the tensors tell, such as their strides. `run(q, k, v, mask,
    scale)` takes and returns [batch, heads, tokens, head_dim]. `tolerance` is the largest relative error, by dtype.
    """

    name: str
    label: str
    refusals: Callable[[Call, Environment], list[str]]
    run: Run
    tolerance: Mapping[torch.dtype, float]
    exact: bool = True
    gate: Callable[[Inputs], list[str]] | None = None
