"""Between the host's tensor layouts and the kernels' [batch, heads, tokens, head_dim]: views, no copies."""

from __future__ import annotations

import torch


def split_heads(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    batch, tokens, width = x.shape
    return x.view(batch, tokens, width // head_dim, head_dim).transpose(
        1, 2
    )  # B N (H D) -> B H N D


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    batch, heads, tokens, head_dim = x.shape
    return x.transpose(1, 2).reshape(batch, tokens, heads * head_dim)  # B H N D -> B N (H D)
