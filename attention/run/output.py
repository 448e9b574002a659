"""What a kernel gives back, before the model gets it."""

from __future__ import annotations

import torch

from ..call import Inputs

Output = tuple[torch.Size, torch.dtype, torch.device]


def output_of(inputs: Inputs) -> Output:
    q = inputs.q
    return torch.Size((*q.shape[:3], inputs.v.shape[3])), q.dtype, q.device


def fitting(result: object, inputs: Inputs) -> torch.Tensor:
    """In the query's dtype. TypeError for what no attention gives: a broken package must not break the model."""
    q, (shape, *_) = inputs.q, output_of(inputs)
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"gave {type(result).__name__}, needs a tensor")
    if result.shape != shape:
        raise TypeError(f"gave a tensor of shape {tuple(result.shape)}, needs {tuple(shape)}")
    if result.device != q.device:
        raise TypeError(f"gave a tensor on {result.device}, needs {q.device}")
    if not result.is_floating_point():
        raise TypeError(
            f"gave a tensor of {str(result.dtype).removeprefix('torch.')}, needs floats"
        )
    return result if result.dtype == q.dtype else result.to(q.dtype)
