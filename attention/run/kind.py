"""Calls of one kind: what was decided for them, and what their kernel must give."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..backends import Backend, Kernel
from ..call import Inputs
from ..choose.plan import Plan
from ..choose.policy import HOST
from ..record.record import Record, Sighting
from .forward import Forward, Place

Output = tuple[torch.Size, torch.dtype, torch.device]


@dataclass(slots=True)
class Kind:
    """Calls that differ in nothing that decides. `asked` is the backend that is told to be asked for, `left_to` the
    name of the function that runs those which are left alone, `remark` why they are, `output` what a kernel must give.
    """

    plan: Plan
    asked: str
    left_to: str
    remark: str
    opaque: bool
    output: Output
    sighting: Sighting | None = None
    active: str = ""
    evidence: str = ""
    proof: str = ""
    reason: str = ""
    watched: bool = False  # in every call; else once a step
    step: int | None = -1  # in which it was watched last

    def settle(self) -> None:
        """Take over what the plan says now."""
        choice = self.plan.choice
        left = choice.backend is HOST
        self.active = self.left_to if left else choice.backend.name if choice.backend else ""
        self.evidence, self.proof = ("host", "sample") if left else ("forced", "off")
        self.reason = "; ".join(filter(None, (choice.reason, self.plan.remark, self.remark)))
        self.watched = not left and choice.backend is not None and not _own(choice.backend)
        self.sighting = None

    def record(self, place: Place, forward: Forward) -> Record:
        return Record(
            self.plan.call,
            self.asked,
            self.active,
            self.evidence,
            self.reason,
            forward.step,
            place.block,
            forward.cond,
            via=place.via,
        )

    def fit(self, result: object) -> torch.Tensor:
        """In the query's dtype. TypeError for what no attention gives: a broken package must not break the model."""
        if not isinstance(result, torch.Tensor):
            raise TypeError(f"gave {type(result).__name__}, needs a tensor")
        if (result.shape, result.dtype, result.device) == self.output:
            return result
        return _fitting(result, *self.output)


def output_of(inputs: Inputs) -> Output:
    q = inputs.q
    return torch.Size((*q.shape[:3], inputs.v.shape[3])), q.dtype, q.device


def _fitting(
    result: torch.Tensor, shape: torch.Size, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    if result.shape != shape:
        raise TypeError(f"gave a tensor of shape {tuple(result.shape)}, needs {tuple(shape)}")
    if result.device != device:
        raise TypeError(f"gave a tensor on {result.device}, needs {device}")
    if not result.is_floating_point():
        raise TypeError(
            f"gave a tensor of {str(result.dtype).removeprefix('torch.')}, needs floats"
        )
    return result.to(dtype)


def _own(backend: Backend) -> bool:
    """Whether it is torch's own code, or another that computes as exactly and comes in no package."""
    return backend.exact and not isinstance(backend, Kernel)
