"""Between the host's tensor layouts and the kernels' [batch, heads, tokens, head_dim]: views, no copies."""

from __future__ import annotations

import torch


def split_heads(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)  # B N (H D) -> B H N D


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(-2)  # B H N D -> B N (H D)
