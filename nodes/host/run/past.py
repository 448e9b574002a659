"""Attention calls that a model makes past the host's hook: counted, and run by the dispatcher where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ....attention.record.name import owner_of
from ....attention.run.forward import Forward, Place
from ....attention.run.intercept import past_sdpa
from ....attention.run.names import Names
from ..override import SLOT, HostCall, kept
from .roles import host_functions

OWN = __name__.partition(".")[0]
# What follows the heads in the host's functions, and what it is where a call says nothing of it.
LATER = {
    "mask": None,
    "attn_precision": None,
    "skip_reshape": False,
    "skip_output_reshape": False,
}


def _host_call(
    forward: Forward, function: Callable, args: Sequence[Any], kwargs: dict, foreign: bool
):
    heads = args[3] if len(args) > 3 else kwargs.get("heads")
    if forward.taker is None or not isinstance(heads, int) or not _tensors(args):
        return function(*args, **kwargs)
    rest = {**LATER, **dict(zip(LATER, args[4:], strict=False)), **kwargs}
    q, k, v = args[:3]
    call = HostCall(function, tuple(args), kwargs, q, k, v, heads, rest)
    site = forward.site
    block = site.block if site else None
    role = forward.role(*call.lengths, block)
    via = _how(forward, function, foreign)
    left = kept(function) if foreign and not forward.taker.takes_over else ""
    place = Place(role, block, call.protected, left, foreign, via, opaque=bool(left))
    return call.laid_out(forward.taker.run(call, place, forward))


def _tensors(args: Sequence) -> bool:
    return len(args) > 2 and all(isinstance(x, torch.Tensor) and x.ndim in (3, 4) for x in args[:3])


def _how(forward: Forward, function: Callable, foreign: bool) -> str:
    if foreign:
        return f"attention function replaced by {owner_of(function)}"
    return forward.site.how() if forward.site else "made outside the modules that are known"


def names() -> Names:
    """Of every attention function of the host and of torch, wherever it was imported."""
    handlers = dict.fromkeys(host_functions(), _host_call)
    hook = ("transformer_options", SLOT)
    return Names({**handlers, F.scaled_dot_product_attention: past_sdpa}, OWN, hook)
