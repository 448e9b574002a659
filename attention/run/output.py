"""What a kernel gives back, before the model gets it."""

from __future__ import annotations

import torch

from ..call import Inputs


def fitting(result: object, inputs: Inputs) -> torch.Tensor:
    """In the query's dtype. TypeError for what no attention gives: a broken package must not break the model."""
    q, v = inputs.q, inputs.v
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"gave {type(result).__name__}, needs a tensor")
    fits = result.dtype == q.dtype and result.device == q.device and result.shape[-1] == v.shape[3]
    return result if fits and result.shape[:3] == q.shape[:3] else _mended(result, q, v)


def _mended(result: torch.Tensor, q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    shape = (*q.shape[:3], v.shape[3])
    if result.shape != shape:
        raise TypeError(f"gave a tensor of shape {tuple(result.shape)}, needs {shape}")
    if result.device != q.device:
        raise TypeError(f"gave a tensor on {result.device}, needs {q.device}")
    if not result.is_floating_point():
        raise TypeError(
            f"gave a tensor of {str(result.dtype).removeprefix('torch.')}, needs floats"
        )
    return result if result.dtype == q.dtype else result.to(q.dtype)
