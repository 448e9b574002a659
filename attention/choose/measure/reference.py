"""What a call should compute, for a few of its query rows."""

from __future__ import annotations

import math

import torch

from ...call import Inputs

CHECKED_HEADS = 4
CHECKED_ROWS = 32


class Reference:
    """The right answer for a few query rows of a few heads, in float64 where the device has it.

    float32 products may silently run in TF32, with an error as large as the one looked for.
    """

    def __init__(self, inputs: Inputs) -> None:
        q, k = inputs.q, inputs.k
        batch, heads, tokens, _ = q.shape
        self._rows = torch.linspace(
            0, tokens - 1, min(tokens, CHECKED_ROWS), device=q.device
        ).long()
        places = (
            torch.linspace(0, batch * heads - 1, min(batch * heads, CHECKED_HEADS)).long().tolist()
        )
        self._places = [divmod(place, heads) for place in places]
        self._group = heads // k.shape[1]
        self._dtype = torch.float64 if q.device.type in ("cpu", "cuda") else torch.float32
        self._answers = [self._answer(inputs, batch, head) for batch, head in self._places]

    def error(self, out: torch.Tensor) -> float | None:
        """Relative error of those rows; infinite for an output that is not finite, None if the right one is not."""
        right = torch.stack(self._answers)
        if not torch.isfinite(right).all():
            return None
        if not torch.isfinite(out.sum(dtype=torch.float32)):
            return math.inf
        found = torch.stack([out[batch, head, self._rows] for batch, head in self._places])
        off = torch.linalg.vector_norm(found.to(self._dtype) - right)
        size = torch.linalg.vector_norm(right)
        return float(off / size) if size > 0 else float(off)

    def _answer(self, inputs: Inputs, batch: int, head: int) -> torch.Tensor:
        query = inputs.q[batch, head, self._rows].to(self._dtype)
        key = inputs.k[batch, head // self._group].to(self._dtype)
        value = inputs.v[batch, head // self._group].to(self._dtype)
        scale = inputs.q.shape[-1] ** -0.5 if inputs.scale is None else inputs.scale
        scores = query @ key.T * scale
        if inputs.mask is not None:
            shape = (*inputs.q.shape[:3], inputs.k.shape[2])
            scores = _masked(scores, inputs.mask.broadcast_to(shape)[batch, head][self._rows])
        return torch.softmax(scores, dim=-1) @ value


def _masked(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, -math.inf)
    return scores + mask.to(scores.dtype)
