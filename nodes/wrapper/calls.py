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
from ...attention.run.intercept import answer_sdpa
from ...attention.run.names import CALLER, Handler, Names, StandIn
from ...attention.run.operator import attend
from .modes import SPARSE, Asked, asked, autocast_to, computed_in, kept
from .within import Found, Within

OWN = __name__.partition(".")[0]
MODEL = ".wanvideo.modules.model"
ATTENTION = ".wanvideo.modules.attention"
RADIAL = ".wanvideo.radial_attention.attn_mask"
DENSE = "sparse_sage_attn"  # what the wrapper calls the sparse kernel where it computes all


class WrapperCall:
    """Tensors are [batch, tokens, heads, head_dim] in the layout NHD, [batch, heads, tokens, head_dim] in HND.

    It is left alone by the way back that was found, with `args` and `kwargs`.
    """

    __slots__ = ("_args", "_asked", "_found", "_inputs", "_kwargs", "_left", "back")

    def __init__(self, found: Found, args: tuple, kwargs: dict, asked: Asked) -> None:
        self.back = found.back
        self._found = found
        self._args = args
        self._kwargs = kwargs
        self._asked = asked
        self._inputs: Inputs | None = None
        self._left = False

    def facts(self) -> tuple:
        return self._found.facts

    def device(self) -> torch.device:
        return self._asked.q.device

    def inputs(self) -> Inputs:
        if self._inputs is None:
            self._inputs = self._apart()
        return self._inputs

    def _apart(self) -> Inputs:
        q, k, v, _, mask, scale, *_ = self._asked
        if not self.back.heads_first:
            q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # B H N D
        dtype = self._found.dtype
        if dtype is not None:
            q, k, v = (x if x.dtype is dtype else x.to(dtype) for x in (q, k, v))
        return Inputs(q, k, v, mask, scale)

    def leave(self) -> torch.Tensor:
        self._left = True
        return self.back.function(*self._args, **self._kwargs)

    def laid_out(self, result: torch.Tensor) -> torch.Tensor:
        """As the wrapper's function would give it; what it ran itself is so already."""
        if self._left or self.back.heads_first:
            return result
        return _given_back(result, self._asked)


def _given_back(result: torch.Tensor, asked: Asked) -> torch.Tensor:
    """[batch, tokens, heads, head_dim], in the query's dtype but where older versions leave it in that of sdpa."""
    result = result.transpose(1, 2).contiguous()  # B H N D -> B N H D
    flash = "flash" in asked.mode
    return result.to(asked.q.dtype) if flash and result.dtype != asked.q.dtype else result


def _call(
    forward: Forward, function, args, kwargs, foreign, *, fixed="", heads_first=False, casts=False
):
    """One call of one of the wrapper's functions, given back as the function would give it."""
    if not isinstance(forward, Within):
        return function(*args, **kwargs)
    call = asked(fixed, *args, **kwargs)
    found = forward.found(sys._getframe(CALLER), call, function, heads_first, casts, foreign)
    given = WrapperCall(found, args, kwargs, call)
    return given.laid_out(forward.take(given, found.place))


def _sdpa(forward: Forward, function: Callable, args: tuple, kwargs: dict, foreign: bool):
    """Torch's function, called by the wrapper's code itself."""
    if not isinstance(forward, Within):
        return function(*args, **kwargs)
    name = forward.places.running(sys._getframe(CALLER))

    def place(q_len: int, kv_len: int) -> Place:
        return forward.placed(name, q_len, kv_len, "sdpa", foreign, "")

    return answer_sdpa(forward.take, place, function, *args, **kwargs)


class Watching(StandIn):
    """Compiled code keeps the wrapper's own function, and is compiled anew without this one."""

    __slots__ = ("__dict__",)  # torch guards it

    def __call__(self, *args, **kwargs):
        if torch.compiler.is_compiling():
            return self.function(*args, **kwargs)
        return self.answer(args, kwargs)


class Taking(StandIn):
    """Compiled code asks whoever serves it, in one operator."""

    __slots__ = ("__dict__",)

    def __call__(self, *args, **kwargs):
        if torch.compiler.is_compiling():
            return _traced(self.function, args, kwargs)
        return self.answer(args, kwargs)


def _traced(function: Callable, args: tuple, kwargs: dict):
    if function.__name__ != "attention":
        return function(*args, **kwargs)
    call = asked("", *args, **{**kwargs, "k_lens": None})
    if call.left or kept(call.mode, takes_over=False):
        return function(*args, **kwargs)
    dtype = computed_in(call, _casts(function), autocast_to(call.q.device.type))
    q, k, v = (x.transpose(1, 2).to(dtype) for x in (call.q, call.k, call.v))
    result = attend(q, k, v, call.mask, call.scale, None, False)
    return _given_back(result, call)


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
        plain: functools.partial(_call, casts=casts),
        attention.get("sageattn_func"): functools.partial(
            _call, fixed="sageattn", heads_first=True
        ),
        radial.get("RadialSpargeSageAttn"): functools.partial(_call, fixed=SPARSE),
        radial.get("RadialSpargeSageAttnDense"): functools.partial(_call, fixed=DENSE),
        F.scaled_dot_product_attention: _sdpa,
    }
    return {function: handler for function, handler in found.items() if function is not None}
