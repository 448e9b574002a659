"""Attention functions wherever they were imported: while a watched model runs, their names lead past its account.

Other threads, and models that nobody watches, go straight through. What other packs have put in the place of such a
function in the meantime is left in its place and told.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from .follow import current
from .forward import Forward

Handler = Callable[[Forward, Callable, tuple, dict, bool], object]
Hook = tuple[str, str]
CALLER = 3  # frames up from a handler, past those of a stand-in, to the code that called the name


class StandIn:
    """In the place of `function`. Within a watched forward the call goes to `handler`, unless one is under way.

    `hook` is the keyword of a call, and the key in it, with which the call comes through the hook by itself; what is
    `foreign` need not ask the hook.
    """

    __slots__ = ("foreign", "function", "handler", "hook")

    def __init__(self, function: Callable, handler: Handler, foreign: bool, hook: Hook) -> None:
        self.function = function
        self.handler = handler
        self.foreign = foreign
        self.hook = hook

    def __getattr__(self, name: str):
        return getattr(self.function, name)  # its name, and what it wraps, which some packs call

    def __call__(self, *args, **kwargs):
        return self.answer(args, kwargs)

    def answer(self, args: tuple, kwargs: dict):
        keyword, key = self.hook
        if not self.foreign and key in (kwargs.get(keyword) or ()):
            return self.function(*args, **kwargs)
        forward = current()
        if forward is None or _without_numbers(args, kwargs):
            return self.function(*args, **kwargs)
        if forward.inside:
            forward.within += 1
            return self.function(*args, **kwargs)
        return self.handler(forward, self.function, args, kwargs, self.foreign)


def _without_numbers(args: tuple, kwargs: dict) -> bool:
    """A compiler that traces within the forward calls attention with tensors that hold none."""
    first = args[0] if args else next(iter(kwargs.values()), None)
    return isinstance(first, FakeTensor | FunctionalTensor)


class Names:
    """`handlers` are given for each known function. Modules named like `own` keep their names as they are."""

    def __init__(
        self,
        handlers: dict[Callable, Handler],
        own: str,
        hook: Hook = ("", ""),
        stand_in: type[StandIn] = StandIn,
    ) -> None:
        self._handlers = handlers
        self._hook = hook
        self._kind = stand_in
        self._own = own
        self._lock = threading.Lock()
        self._inside = 0
        self._modules = 0
        self._places: list[tuple[dict, str, Handler, Callable, StandIn]] = []
        self._put: list[tuple[dict, str, StandIn]] = []
        self._made: dict[int, StandIn] = {}

    @contextmanager
    def led(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._install()
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._restore()

    def foreign(self) -> list[tuple[str, Callable]]:
        """What stands in the place of a known function now: `module.name` and the function."""
        with self._lock:
            return [
                (f"{known.get('__name__', '')}.{name}", known[name])
                for known, name, _, original, _ in self._places
                if name in known
                and not isinstance(known[name], StandIn)
                and known[name] is not original
            ]

    def _install(self) -> None:
        if len(sys.modules) != self._modules:
            self._find()
        for known, name, handler, original, usual in self._places:
            function = known.get(name)
            if function is original:
                stand_in = usual
            elif not callable(function) or isinstance(function, StandIn):
                continue
            else:
                stand_in = self._stand_in(function, handler, foreign=True)
            known[name] = stand_in
            self._put.append((known, name, stand_in))

    def _stand_in(self, function: Callable, handler: Handler, foreign: bool) -> StandIn:
        """One for each function: a compiled graph that saw it knows it again."""
        made = self._made.get(id(function))
        if made is None or made.function is not function:
            made = self._made[id(function)] = self._kind(function, handler, foreign, self._hook)
        return made

    def _restore(self) -> None:
        for known, name, stand_in in self._put:
            if known.get(name) is stand_in:  # else somebody has put something else there meanwhile
                known[name] = stand_in.function
        self._put.clear()

    def _find(self) -> None:
        self._modules = len(sys.modules)
        seen = {(id(known), name) for known, name, *_ in self._places}
        wanted = {id(function): function for function in self._handlers}
        for module_name, module in list(sys.modules.items()):
            if module is None or module_name.partition(".")[0] == self._own:
                continue
            known = getattr(module, "__dict__", None)
            if not isinstance(known, dict):
                continue
            for name, value in list(known.items()):
                function = wanted.get(id(value))
                if function is not None and (id(known), name) not in seen:
                    handler = self._handlers[function]
                    usual = self._stand_in(function, handler, foreign=False)
                    self._places.append((known, name, handler, function, usual))
