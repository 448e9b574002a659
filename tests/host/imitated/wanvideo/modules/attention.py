"""As in WanVideoWrapper: its common function, which is told the mode, and one of a package."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask=None) -> torch.Tensor:
    """Of [batch, heads, tokens, head_dim], with no operator of torch that is attention."""
    weights = q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5
    weights = weights if mask is None else weights.masked_fill(~mask, float("-inf"))
    return (weights.softmax(-1) @ v.float()).to(q.dtype)


def sageattn_func(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False):
    return exact(q, k, v, attn_mask)


def attention(
    q,
    k,
    v,
    q_lens=None,
    k_lens=None,
    dtype=torch.bfloat16,
    attention_mode="sdpa",
    attn_mask=None,
    transformer_options=None,
    **named,
):
    """Of [batch, tokens, heads, head_dim]."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    plain = F.scaled_dot_product_attention if attention_mode == "sdpa" else exact
    return plain(q, k, v, attn_mask).transpose(1, 2).contiguous()
