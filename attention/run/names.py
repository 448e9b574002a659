"""Attention functions wherever they were imported: while a watched model runs, their names lead past its account.

Other threads, and models that nobody watches, go straight through. What other packs have put in the place of such a
function in the meantime is left in its place and told.
"""

from __future__ import annotations

import operator
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from .follow import current
from .forward import Forward

Handler = Callable[[Forward, Callable, tuple, dict, bool], object]
Hook = tuple[str, str]
HOLLOW = (FakeTensor, FunctionalTensor)  # made once: a union would be made for each call
CALLER = 3  # frames up from a handler, past those of a stand-in, to the code that called the name


class StandIn:
    """In the place of `function`. Within a watched forward the call goes to `handler`, unless one is under way.

    `hook` is the keyword of a call, and the key in it, with which the call comes through the hook by itself; what is
    `foreign` need not ask the hook.
    """

    __slots__ = ("__weakref__", "foreign", "function", "handler", "hook")

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


class Place(NamedTuple):
    """A name in the dictionary of a module, by which it has imported a `known` function."""

    module: dict
    name: str
    handler: Handler
    known: Callable


class Cells:
    """Names in modules, read and written without a step of the interpreter: they are many, and met in every forward."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._modules = [place.module for place in places]
        self._names = [place.name for place in places]

    def read(self) -> list:
        """What stands there, None where a name is gone."""
        return list(map(dict.get, self._modules, self._names))

    def hold(self, values: Sequence) -> bool:
        found = map(dict.get, self._modules, self._names)
        return len(values) == len(self._names) and all(map(operator.is_, found, values))

    def fill(self, values: Sequence) -> None:
        deque(map(operator.setitem, self._modules, self._names, values), maxlen=0)


def _without_numbers(args: tuple, kwargs: dict) -> bool:
    """A compiler that traces within the forward calls attention with tensors that hold none."""
    first = args[0] if args else next(iter(kwargs.values()), None)
    return isinstance(first, HOLLOW)


class Names:
    """`handlers` are given for each known function. Modules named like `own` keep their names as they are."""

    def __init__(
        self,
        handlers: dict[Callable, Handler],
        own: str,
        hook: Hook = ("", ""),
        stand_in: type[StandIn] = StandIn,
    ) -> None:
        self._handlers = {id(known): (known, handler) for known, handler in handlers.items()}
        self._hook = hook
        self._kind = stand_in
        self._own = own
        self._lock = threading.Lock()
        self._forwards = 0  # that are under way
        self._runs = 0
        self._modules = 0
        self._places: list[Place] = []
        self._all = Cells(())
        self._led = Cells(())  # those of them in which a function stands
        self._met: list = []  # what stood in all of them when the stand-ins were chosen
        self._before: list[Callable] = []  # of that, the functions that are led
        self._instead: list[StandIn] = []
        self._stand = False  # the stand-ins are in their places
        self._made: dict[int, StandIn] = {}
        self._lent: weakref.WeakSet[StandIn] = weakref.WeakSet()  # all that were ever made

    def led(self) -> Names:
        """To be entered for a forward: meanwhile the names lead to the handlers."""
        return self

    def __enter__(self) -> None:
        with self._lock:
            self._lead()
            self._forwards += 1

    def __exit__(self, *error) -> None:
        with self._lock:
            self._forwards -= 1
            self._put_back()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within a run they lead on from its first forward to its end; those that somebody changes, from the next forward."""
        with self._lock:
            self._runs += 1
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1
                self._put_back()

    def foreign(self) -> list[tuple[str, Callable]]:
        """What stands in the place of a known function now: `module.name` and the function."""
        with self._lock:
            return [
                (f"{known.get('__name__', '')}.{name}", known[name])
                for known, name, _, original in self._places
                if name in known
                and not isinstance(known[name], StandIn)
                and known[name] is not original
            ]

    def _lead(self) -> None:
        found = len(sys.modules) != self._modules and self._find()
        if self._stand and not found and self._led.hold(self._instead):
            return
        if self._stand or found or not self._all.hold(self._met):
            self._choose()
        self._stand = True
        self._led.fill(self._instead)

    def _put_back(self) -> None:
        if self._forwards or self._runs or not self._stand:
            return
        self._stand = False
        found = len(sys.modules) != self._modules and self._find()
        if not found and self._led.hold(self._instead):
            self._led.fill(self._before)
            return
        for module, name, *_ in self._places:  # somebody has put something else there meanwhile
            stands = module.get(name)
            if (meant := self._meant(stands)) is not stands:
                module[name] = meant

    def _meant(self, found):
        """What it stands for, where it is of our making: somebody who had come across it may have put it there."""
        return found.function if isinstance(found, StandIn) and found in self._lent else found

    def _choose(self) -> None:
        """Once, and again when something else stands there. What stood there before is let go of."""
        met = list(map(self._meant, self._all.read()))
        there = set(map(id, met))
        self._made = {
            key: made for key, made in self._made.items() if not made.foreign or key in there
        }
        led = [
            (place, function)
            for place, function in zip(self._places, met, strict=True)
            if callable(function) and not isinstance(function, StandIn)
        ]
        self._instead = [self._stand_in(function, place) for place, function in led]
        self._led = Cells([place for place, _ in led])
        self._before = [function for _, function in led]
        self._met = met

    def _stand_in(self, function: Callable, place: Place) -> StandIn:
        """One for each function: a compiled graph that saw it knows it again."""
        made = self._made.get(id(function))
        if made is None or made.function is not function:
            _, handler = self._handlers.get(id(function), (function, place.handler))
            foreign = id(function) not in self._handlers
            made = self._made[id(function)] = self._kind(function, handler, foreign, self._hook)
            self._lent.add(made)
        return made

    def _find(self) -> bool:
        """Whether there are places that were not known. Who imports a function meanwhile gets what stands for it."""
        self._modules = len(sys.modules)
        seen = {(id(place.module), place.name) for place in self._places}
        known, wanted = len(seen), dict(self._handlers)
        for stand_in in self._lent:
            if meant := self._handlers.get(id(stand_in.function)):
                wanted[id(stand_in)] = meant
        for module_name, module in list(sys.modules.items()):
            if module is None or module_name.partition(".")[0] == self._own:
                continue
            names = getattr(module, "__dict__", None)
            if not isinstance(names, dict):
                continue
            for name, value in list(names.items()):
                found = wanted.get(id(value))
                if found is not None and (id(names), name) not in seen:
                    function, handler = found
                    self._places.append(Place(names, name, handler, function))
        self._all = Cells(self._places)
        return len(self._places) > known
