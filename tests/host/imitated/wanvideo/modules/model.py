"""As in WanVideoWrapper, by the names of its modules: two blocks, each with attention to itself and to a text."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..radial_attention.attn_mask import RadialSpargeSageAttn, RadialSpargeSageAttnDense
from .attention import attention, sageattn_func


class WanSelfAttention(torch.nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.attention_mode = mode

    def forward(self, q, **named):
        return attention(q, q, q, attention_mode=self.attention_mode, **named)


class WanCrossAttention(WanSelfAttention):
    def forward(self, q, text, **named):
        return attention(q, text, text, attention_mode=self.attention_mode, **named)

    def plain(self, q, text, **named):
        q, text = q.transpose(1, 2), text.transpose(1, 2)
        return F.scaled_dot_product_attention(q, text, text, **named)

    def packaged(self, q, text):
        return sageattn_func(q.transpose(1, 2), text.transpose(1, 2), text.transpose(1, 2))


class WanAttentionBlock(torch.nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.self_attn, self.cross_attn = WanSelfAttention(mode), WanCrossAttention(mode)

    def forward(self, x, text):
        x = x + self.self_attn(x)
        return x + self.cross_attn(x, text)

    def sparse(self, x):
        return RadialSpargeSageAttn(x, x, x, None, decay_factor=0.2)

    def dense(self, x):
        return RadialSpargeSageAttnDense(x, x, x, None)


class WanModel(torch.nn.Module):
    text_len = 32
    main_device = torch.device("cpu")

    def __init__(self, mode: str = "sdpa") -> None:
        super().__init__()
        self.attention_mode = mode
        self.blocks = torch.nn.ModuleList(WanAttentionBlock(mode) for _ in range(2))

    def forward(self, x, text, **named):
        """`x` is a list of latents, [tokens, heads, head_dim] each."""
        x = torch.stack(x)
        for block in self.blocks:
            x = block(x, text.expand(len(x), -1, -1, -1))
        return list(x)
