"""Attention calls that a model makes past the host's hook: counted, and run by the dispatcher where that is safe."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ...attention.call import Inputs, merge_heads
from ...attention.record.name import owner_of
from ...attention.run.forward import Forward, Place
from ...attention.run.intercept import past_sdpa
from ...attention.run.names import Names
from .override import PRECISION, SLOT, inputs_of, kept
from .roles import host_functions

OWN = __name__.partition(".")[0]


def _host_call(
    forward: Forward, function: Callable, args: tuple[Any, ...], kwargs: dict, foreign: bool
):
    heads = args[3] if len(args) > 3 else kwargs.get("heads")
    if forward.taker is None or not isinstance(heads, int) or not _tensors(args):
        return function(*args, **kwargs)
    rest = {"mask": None, "skip_reshape": False, "skip_output_reshape": False, **kwargs}
    if len(args) > 4:
        rest["mask"] = args[4]
    inputs = _inputs(args, heads, rest)
    site = forward.site
    block = site.block if site else None
    role = forward.role(inputs.q.shape[2], inputs.k.shape[2], block)
    protected = kwargs.get(PRECISION, True) is False
    via = _how(forward, function, foreign)
    left = kept(function) if foreign and not forward.taker.takes_over else ""
    place = Place(role, block, protected, left, foreign, via, opaque=bool(left))
    leave = functools.partial(function, *args, **kwargs)
    result = forward.taker.run(inputs, place, forward, leave)
    return merge_heads(result) if result.ndim == 4 and not rest["skip_output_reshape"] else result


def _inputs(args: Sequence, heads: int, rest: dict) -> Inputs:
    q, k, v = args[:3]
    return inputs_of(q, k, v, heads, rest)


def _tensors(args: tuple) -> bool:
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
