"""fastflash-attention: exact attention in plain Triton, tuned for consumer Blackwell, for self-attention in bfloat16."""

from __future__ import annotations

import torch

from ...call import Call
from ...environment import Environment
from ..backend import Refused
from ..kernel import kernel, on_device_of
from ..limits import Limits
from ..packages import Package, pip


def _load():
    from fastflash_attention import fast_attention  # pyright: ignore[reportMissingImports]

    return fast_attention


MOST_HEADS = 2**16 - 1  # of all batches together, the grid's second side
MOST_VALUES = (
    2**31 - 1
)  # of one tensor: its places are counted in 32 bits, and beyond them it reads others


def _sizes(call: Call, environment: Environment) -> list[str]:
    """What the package's `is_eligible` asks for besides dtype, mask and head size, and what it forgets to ask."""
    reasons = []
    heads = call.batch * call.heads
    values = heads * call.q_len * call.head_dim
    if call.kv_len != call.q_len:
        reasons.append(f"{call.kv_len} keys, needs {call.q_len} as the query has")
    if heads > MOST_HEADS:
        reasons.append(f"{heads} heads in all batches, needs at most {MOST_HEADS}")
    if values > MOST_VALUES:
        reasons.append(f"{values:,} values in the query, needs at most {MOST_VALUES:,}")
    return reasons


def _attend(function, q, k, v, mask, scale) -> torch.Tensor:
    try:
        with on_device_of(q):
            return function(q, k, v, scale=scale)
    except ValueError as error:  # its UnsupportedConfig, which names what it did not like
        raise Refused([str(error)]) from error


def _install(environment: Environment) -> str:
    """Elsewhere than on Windows, Triton comes with torch."""
    windows = environment.platform.startswith("Windows")
    return pip("fastflash-attention", *(["triton-windows"] if windows else []))


PACKAGE = Package("fastflash-attention", ("fastflash-attention",), _load, _install)

# Triton's products need 16 rows, so the smaller sizes that the package lets through do not compile.
FASTFLASH = kernel(
    "fastflash",
    Limits("FastFlashAttention", (torch.bfloat16,), head_dims=(16, 32, 64, 128), grouped=False),
    PACKAGE,
    _attend,
    also=_sizes,
    note="compiles and tunes itself for some seconds on the first call of a size",
)
