"""The attention modes of WanVideoWrapper: what a call of its functions asks for, and the way back to them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import comfy.ldm.modules.attention as host_attention
import torch

from ...attention.record.name import name_of
from ...attention.run.intercept import CAUSAL

HALF = (torch.float16, torch.bfloat16)
WHOLE = (-1, -1)  # a window that hides no key
DECAYING = "sageattn_ultravico"
SPARSE = "radial_sage_attention"
OWN = "{} is no plain attention and keeps its own kernel"
LOCAL = "scaled query or local window, left to WanVideoWrapper"
CUT = "keys cut to the length of each sample, kernels here take whole keys"
PACKED = "samples packed one after the other, kernels here take them side by side"
DENSE = "radial_sage_attention runs sdpa in its dense blocks and steps"
SAGE_3 = "sageattn_3"
ENDS = "sageattn_3 runs in the first and last step, {} in between"


class Way:
    """Back to the wrapper's function in a mode. `heads_first` is whether its tensors are in the layout HND."""

    def __init__(self, function: Callable, mode: str, heads_first: bool) -> None:
        self.function = function
        self.mode = mode
        self.heads_first = heads_first
        default = name_of(host_attention.optimized_attention)
        label = f"comfy ({default})" if mode == "comfy" else mode
        self.__qualname__ = f"attention_{label}"  # how a function's name tells what it runs

    def __call__(self, *args, **kwargs) -> torch.Tensor:
        return self.function(*args, **kwargs)


way = functools.lru_cache(Way)


class Asked(NamedTuple):
    """What one call asks for, in the wrapper's terms. Tensors are [batch, tokens, heads, head_dim] in the layout NHD.

    `named` is the dtype that the call names, `left` why nothing but the wrapper's function may run it, empty if others may.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mode: str
    mask: torch.Tensor | None
    scale: float | None
    named: torch.dtype
    left: str


def asked(
    fixed: str,
    /,
    q,
    k,
    v,
    q_lens=None,
    k_lens=None,
    *_,
    attention_mode: str = "sdpa",
    attn_mask=None,
    softmax_scale: float | None = None,
    dtype: torch.dtype = torch.bfloat16,
    causal: bool = False,
    is_causal: bool = False,
    dropout_p: float = 0.0,
    q_scale=None,
    window_size: Sequence[int] = WHOLE,
    **_more,
) -> Asked:
    """Of a call of the wrapper's function that knows one mode, `fixed`, or of the common one, which is told the mode."""
    mode = fixed or plain_mode(attention_mode)
    left = ""
    if q.ndim != 4:
        q, k, v, left = q[None], k[None], v[None], PACKED
    elif causal or is_causal or dropout_p:
        left = CAUSAL
    elif q_scale is not None or tuple(window_size) != WHOLE:
        left = LOCAL
    elif k_lens is not None and "flash" in mode and _least(k_lens) < k.shape[1]:
        left = CUT
    if attn_mask is not None:
        attn_mask = attn_mask[(None,) * (4 - attn_mask.ndim)]  # B H N M
    return Asked(q, k, v, mode, attn_mask, softmax_scale, dtype, left)


def _least(lengths: torch.Tensor | Sequence[int]) -> int:
    return min(lengths.tolist() if isinstance(lengths, torch.Tensor) else lengths)


def plain_mode(mode: str) -> str:
    """What the wrapper's common function runs in a mode: of the sparse one only what is dense comes to it."""
    return "sdpa" if mode == SPARSE else mode


def autocast_to(kind: str) -> torch.dtype | None:
    """What torch casts to on that kind of device at this moment."""
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def computed_in(call: Asked, casts: bool, cast: torch.dtype | None) -> torch.dtype:
    """What the wrapper would compute a call in where torch casts to `cast`.

    `casts` is of older versions, whose sdpa mode does as the call names.
    """
    flash = "flash" in call.mode
    if flash or casts:
        return call.named if not flash or call.q.dtype not in HALF else call.q.dtype
    return cast or call.q.dtype


def kept(mode: str, takes_over: bool) -> str:
    """Why a call stays on a mode that computes something else than attention, empty for the others."""
    return OWN.format(mode) if mode in (DECAYING, SPARSE) and not takes_over else ""
