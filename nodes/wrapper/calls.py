"""The wrapper's attention functions, wherever it imported them: what a call of each becomes while a watched model runs."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F

from ...attention.call import Inputs
from ...attention.run.forward import Forward, Place
from ...attention.run.given import Split
from ...attention.run.intercept import answer_sdpa
from ...attention.run.names import Handler, Names, StandIn
from ...attention.run.operator import attend
from .modes import SPARSE, Given, given_of, kept, way
from .within import Within

OWN = __name__.partition(".")[0]
MODEL = ".wanvideo.modules.model"
ATTENTION = ".wanvideo.modules.attention"
RADIAL = ".wanvideo.radial_attention.attn_mask"
DENSE = "sparse_sage_attn"  # what the wrapper calls the sparse kernel where it computes all


def _call(mode: str, layout: str, casts: bool, forward: Forward, function, args, kwargs, foreign):
    """One call of one of the wrapper's functions, given back as the function would give it."""
    if not isinstance(forward, Within) or forward.taker is None:
        return function(*args, **kwargs)
    given = given_of(args, kwargs, mode, casts)
    back = way(function, given.mode, layout)
    q, k, v = (x if layout == "HND" else x.transpose(1, 2) for x in (given.q, given.k, given.v))
    place = forward.placed(q.shape[2], k.shape[2], given.mode, foreign, given.left)
    if forward.chooses and not place.left:
        q, k, v = (x.to(given.dtype) for x in (q, k, v))  # B H N D
    leave = functools.partial(back, args, kwargs, q.shape[1])
    result = forward.taker.run(
        Split(Inputs(q, k, v, given.mask, given.scale), leave), place, forward
    )
    return result if layout == "HND" else _back(result, given, casts)


def _back(result: torch.Tensor, given: Given, casts: bool) -> torch.Tensor:
    """[batch, tokens, heads, head_dim], in the query's dtype but where older versions leave it in that of sdpa."""
    result = result.transpose(1, 2).contiguous()
    flash = "flash" in given.mode
    return result.to(given.q.dtype) if flash and result.dtype != given.q.dtype else result


def _sdpa(forward: Forward, function: Callable, args: tuple, kwargs: dict, foreign: bool):
    """Torch's function, called by the wrapper's code itself."""
    taker = forward.taker
    if not isinstance(forward, Within) or taker is None:
        return function(*args, **kwargs)

    def place(q_len: int, kv_len: int) -> Place:
        return forward.placed(q_len, kv_len, "sdpa", foreign, "")

    return answer_sdpa(
        functools.partial(taker.run, forward=forward), place, function, *args, **kwargs
    )


class Watching(StandIn):
    """Compiled code keeps the wrapper's own function, and is compiled anew without this one."""

    __slots__ = ("__dict__",)  # torch guards it

    def __call__(self, *args, **kwargs):
        if torch.compiler.is_compiling():
            return self.function(*args, **kwargs)
        return super().__call__(*args, **kwargs)


class Taking(StandIn):
    """Compiled code asks whoever serves it, in one operator."""

    __slots__ = ("__dict__",)

    def __call__(self, *args, **kwargs):
        if torch.compiler.is_compiling():
            return _traced(self.function, args, kwargs)
        return super().__call__(*args, **kwargs)


def _traced(function: Callable, args: tuple, kwargs: dict):
    if function.__name__ != "attention":
        return function(*args, **kwargs)
    given = given_of(args, {**kwargs, "k_lens": None}, casts=_casts(function))
    if given.left or kept(given.mode, takes_over=False):
        return function(*args, **kwargs)
    q, k, v = (x.transpose(1, 2).to(given.dtype) for x in (given.q, given.k, given.v))
    result = attend(q, k, v, given.mask, given.scale, None, False)
    return _back(result, given, False)


def _casts(function: Callable) -> bool:
    return "transformer_options" not in function.__code__.co_varnames


class Account:
    """The names of one installed wrapper, for forwards that are only watched and for those that some backend takes."""

    def __init__(self, module: str) -> None:
        root = module.removesuffix(MODEL)
        handlers = _handlers(root)
        self.watching = Names(handlers, OWN, stand_in=Watching)
        self.taking = Names(handlers, OWN, stand_in=Taking)


@functools.cache
def account_of(module: str) -> Account:
    """By the name under which the host has loaded the module of the wrapper's model."""
    return Account(module)


def _handlers(root: str) -> dict[Callable, Handler]:
    attention = vars(sys.modules[root + ATTENTION])
    radial = vars(sys.modules.get(root + RADIAL, object))
    plain = attention["attention"]
    casts = "transformer_options" not in inspect.signature(plain).parameters
    found = {
        plain: functools.partial(_call, "", "NHD", casts),
        attention.get("sageattn_func"): functools.partial(_call, "sageattn", "HND", False),
        radial.get("RadialSpargeSageAttn"): functools.partial(_call, SPARSE, "NHD", False),
        radial.get("RadialSpargeSageAttnDense"): functools.partial(_call, DENSE, "NHD", False),
        F.scaled_dot_product_attention: _sdpa,
    }
    return {function: handler for function, handler in found.items() if function is not None}
