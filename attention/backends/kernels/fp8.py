"""FlashAttention-3 in 8-bit floats: query, key and value scaled per head, the key's mean taken off."""

from __future__ import annotations

import torch

from ...environment import Environment
from ..kernel import kernel
from ..limits import Limits
from ..packages import Package
from .flash import FA3_PACKAGE


def _load():
    """Needs FlashAttention-3 and Triton."""
    from .fp8_triton import quantise_all

    attend = FA3_PACKAGE.load()

    def run(q, k, v, scale):
        (q8, q_factor), (k8, k_factor), (v8, v_factor) = quantise_all(q, k, v)
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        factors = {"q_descale": q_factor, "k_descale": k_factor, "v_descale": v_factor}
        out = attend(q8, k8, v8, softmax_scale=scale, **factors)
        return out[0] if isinstance(out, tuple) else out

    return run


def _attend(function, q, k, v, mask, scale) -> torch.Tensor:
    return function(q, k, v, scale).to(q.dtype).transpose(1, 2)  # comes back as bfloat16


def _install(environment: Environment) -> str:
    return FA3_PACKAGE.install(environment)


PACKAGE = Package("FlashAttention-3 fp8", FA3_PACKAGE.projects, _load, _install)

FA3_FP8 = kernel(
    "fa3_fp8",
    Limits(
        "FlashAttention-3 fp8",
        oldest=(9, 0),
        newest=(9, 0),
        head_dims=(64, 128, 256),
        grouped=False,
    ),
    PACKAGE,
    _attend,
    tolerance={torch.float16: 1e-1, torch.bfloat16: 1e-1},
    note="error about 5e-2 on random data: e4m3 keeps three mantissa bits in the value and the probabilities",
)
