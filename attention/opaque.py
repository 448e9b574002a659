"""Attention as one operator that torch.compile does not look into, so that no kernel can break its graph."""

from __future__ import annotations

import torch

from .backends import BACKENDS


@torch.library.custom_op("wanattn::attend", mutates_args=())
def attend(
    backend: str,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float | None,
) -> torch.Tensor:
    """Tensors are [batch, heads, tokens, head_dim]. The result lies in memory as [batch, tokens, heads, head_dim]."""
    return _laid_out(BACKENDS[backend].run(q, k, v, mask, scale))


@attend.register_fake
def _(backend, q, k, v, mask, scale):
    batch, heads, tokens, _ = q.shape
    return q.new_empty(batch, tokens, heads, v.shape[3]).transpose(1, 2)


def _laid_out(out: torch.Tensor) -> torch.Tensor:
    """Kernels differ in the strides they return; a compiled graph was promised these."""
    return out.transpose(1, 2).contiguous().transpose(1, 2)  # B H N D
