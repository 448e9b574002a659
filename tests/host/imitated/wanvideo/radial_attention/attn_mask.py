"""As in WanVideoWrapper: the sparse function, and the one that computes all with the sparse kernel."""

from __future__ import annotations

from ..modules.attention import exact


def RadialSpargeSageAttn(q, k, v, mask_map, decay_factor):
    return exact(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def RadialSpargeSageAttnDense(q, k, v, mask_map):
    return exact(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)
