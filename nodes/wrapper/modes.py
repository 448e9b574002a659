"""The attention modes of WanVideoWrapper: what a call of its functions asks for, and the way back to them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import comfy.ldm.modules.attention as host_attention
import torch

from ...attention.record.name import name_of
from ...attention.run.intercept import CAUSAL

HALF = (torch.float16, torch.bfloat16)
PLACES = ("q", "k", "v", "q_lens", "k_lens")  # of what is given without a name
DECAYING = "sageattn_ultravico"
SPARSE = "radial_sage_attention"
OWN = "{} is no plain attention and keeps its own kernel"
CUT = "keys cut to the length of each sample, kernels here take whole keys"
DENSE = "radial_sage_attention runs sdpa in its dense blocks and steps"
SAGE_3 = "sageattn_3"
ENDS = "sageattn_3 runs in the first and last step, {} in between"


class Way:
    """Back to the wrapper's function. One object for each function and mode; `layout` is that of its tensors."""

    def __init__(self, function: Callable, mode: str, layout: str = "NHD") -> None:
        self.function = function
        self.mode = mode
        self.layout = layout
        default = name_of(host_attention.optimized_attention)
        label = f"comfy ({default})" if mode == "comfy" else mode
        self.__qualname__ = f"attention_{label}"  # how a function's name tells what it runs

    def __call__(self, args: tuple, kwargs: dict, heads: int) -> torch.Tensor:
        result = self.function(*args, **kwargs)
        if result.ndim == 3:  # B N (H D), as the host's functions give it
            result = result.unflatten(2, (heads, -1))
        return result if self.layout == "HND" else result.transpose(1, 2)


way = functools.lru_cache(maxsize=256)(Way)


@dataclass(frozen=True, slots=True)
class Given:
    """What one call was given, in the wrapper's terms. Tensors are [batch, tokens, heads, head_dim] in the layout NHD."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mode: str
    mask: torch.Tensor | None
    scale: float | None
    dtype: torch.dtype
    left: str


def given_of(args: tuple, kwargs: dict, mode: str = "", casts: bool = False) -> Given:
    """`casts` is of older versions, whose sdpa mode computes in the dtype that a call names."""
    known = {**dict(zip(PLACES, args, strict=False)), **kwargs}
    q = known["q"]
    mode = mode or plain_mode(str(known.get("attention_mode", "sdpa")))
    dtype = _computed_in(q, mode, known.get("dtype", torch.bfloat16), casts)
    mask = known.get("attn_mask")
    left = _why_left(known, mode)
    return Given(q, known["k"], known["v"], mode, mask, known.get("softmax_scale"), dtype, left)


def plain_mode(mode: str) -> str:
    """What the wrapper's common function runs in a mode: of the sparse one only what is dense comes to it."""
    return "sdpa" if mode == SPARSE else mode


def _computed_in(q: torch.Tensor, mode: str, named: torch.dtype, casts: bool) -> torch.dtype:
    if "flash" in mode or casts:
        always = casts and "flash" not in mode
        return named if always or q.dtype not in HALF else q.dtype
    kind = q.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else q.dtype


def _why_left(known: dict, mode: str) -> str:
    """Why nothing but the wrapper's function may run a call, empty if others may."""
    if known.get("causal") or known.get("is_causal") or known.get("dropout_p"):
        return CAUSAL
    if known.get("q_scale") is not None or tuple(known.get("window_size", (-1, -1))) != (-1, -1):
        return "scaled query or local window, left to WanVideoWrapper"
    lengths, k = known.get("k_lens"), known["k"]
    if "flash" in mode and lengths is not None and int(min(lengths)) < k.shape[1]:
        return CUT
    return ""


def kept(mode: str, takes_over: bool) -> str:
    """Why a call stays on a mode that computes something else than attention, empty for the others."""
    return OWN.format(mode) if mode in (DECAYING, SPARSE) and not takes_over else ""
