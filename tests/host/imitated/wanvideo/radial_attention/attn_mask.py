"""As in WanVideoWrapper: the sparse function, and the one that computes all with the sparse kernel."""

from __future__ import annotations

from ..modules.attention import attention


def RadialSpargeSageAttn(q, k, v, mask_map, decay_factor):
    return attention(q, k, v, attention_mode="sparse")


def RadialSpargeSageAttnDense(q, k, v, mask_map):
    return attention(q, k, v, attention_mode="dense")
