"""Which module of a watched model calls attention, found in its code and followed while it runs."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType

import torch

from .forward import Forward
from .site import Site

SDPA = "scaled_dot_product_attention"
DEPTH = 2  # methods that a forward calls, and those that they call
_here = threading.local()  # the forward that this thread runs, and nothing else


def current() -> Forward | None:
    """The forward of a watched model that this thread is in."""
    return getattr(_here, "forward", None)


class entered:
    """Meanwhile this thread is in this forward."""

    __slots__ = ("_before", "_forward")

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    def __enter__(self) -> None:
        self._before = current()
        _here.forward = self._forward

    def __exit__(self, *error) -> None:
        _here.forward = self._before


def calling(
    modules: Iterable[tuple[str, torch.nn.Module]], functions: Collection[Callable]
) -> list[tuple[str, torch.nn.Module]]:
    """Those of the named modules whose `forward`, the class's or their own, names one of the functions."""
    wanted = frozenset(map(id, functions))
    of_class = functools.cache(lambda kind: _calls(kind, getattr(kind, "forward", None), wanted))
    return [
        (name, module)
        for name, module in modules
        if of_class(type(module)) or _calls(type(module), vars(module).get("forward"), wanted)
    ]


@contextmanager
def followed(sites: Iterable[Site]) -> Iterator[None]:
    """Meanwhile every forward knows the site that it is in, and is told of those that ran without a call."""
    handles = []
    try:
        for site in sites:
            enter, leave = functools.partial(_enter, site), functools.partial(_leave, site)
            handles.append(site.module.register_forward_pre_hook(enter))
            handles.append(site.module.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def running(modules: Mapping[int, str], frame: FrameType | None = None) -> str:
    """The place of the innermost module whose method this thread is in, by the ids of those that are known.

    Looked for from `frame` upwards, where that is given; each frame that need not be looked at saves two microseconds.
    """
    frame = frame or sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_argcount:
            place = modules.get(id(local(frame, code.co_varnames[0])))
            if place is not None:
                return place
        frame = frame.f_back
    return ""


def local(frame: FrameType, name: str) -> object:
    """Before Python 3.13 a look at a frame keeps what it holds alive: let go of it again."""
    known = frame.f_locals
    found = known.get(name)
    if type(known) is dict and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        known.clear()
    return found


def _enter(site: Site, module, inputs) -> None:
    forward = current()
    if forward is not None:
        forward.sites.append((site, forward.calls))


def _leave(site: Site, module, inputs, output) -> None:
    forward = current()
    if forward is None or not forward.sites or forward.sites[-1][0] is not site:
        return
    _, before = forward.sites.pop()
    if forward.calls == before and output is not None:  # None after an error
        forward.miss(site)


def _calls(kind: type, function: object, wanted: frozenset[int], depth: int = DEPTH) -> bool:
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        return False
    names = set(_names(function.__code__))
    if SDPA in names or any(id(function.__globals__.get(name)) in wanted for name in names):
        return True
    methods = (getattr(kind, name, None) for name in names if depth)
    return any(_calls(kind, method, wanted, depth - 1) for method in methods)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
