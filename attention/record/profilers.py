"""Profilers of others in this process. torch allows one and does not refuse a second: whoever ends last ends the process."""

from __future__ import annotations

import functools
import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.autograd.profiler as autograd
from torch._C._autograd import _profiler_enabled

SHARE = 0.05  # of the time, at most, to look for those that warm up
STARTS = ("_prepare_profiler", "_enable_profiler")  # what each kind calls to start
PATIENCE = 60.0  # seconds that another one waits for ours, which is over in milliseconds


class OtherProfilers:
    """Finds those that are at work, and keeps new ones waiting while ours is.

    torch's own flag is not set by one that warms up, whose object is the only sign. To find it takes a look at every
    object of the process, so that is done for at most `SHARE` of the time.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self._door = threading.Lock()

    def found(self) -> bool:
        if _profiler_enabled() or getattr(autograd, "_is_profiler_enabled", False):
            return True
        now = time.perf_counter()
        if now < self._next:
            return False
        warming = any(map(_at_work, gc.get_objects()))
        self._next = now + (time.perf_counter() - now) / SHARE
        if warming:  # it is not over until it is looked for again
            self._next = now
        return warming

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A thread that starts one meanwhile goes on when this is over; the names in torch are as before then."""
        before = {name: vars(autograd)[name] for name in STARTS if name in vars(autograd)}
        ours = {name: self._behind(start) for name, start in before.items()}
        with self._door:
            for name, start in ours.items():
                setattr(autograd, name, start)
            try:
                yield
            finally:
                for name, start in ours.items():
                    if vars(autograd)[name] is start:
                        setattr(autograd, name, before[name])

    def _behind(self, start: Callable[..., object]) -> Callable[..., object]:
        owner = threading.get_ident()

        @functools.wraps(start)
        def waits(*args, **kwargs):
            if threading.get_ident() == owner:
                return start(*args, **kwargs)
            passes = self._door.acquire(timeout=PATIENCE)
            try:
                self._next = 0.0  # so that it is looked for
                if start.__name__ == STARTS[1]:
                    autograd._is_profiler_enabled = True  # which ours has taken back at its end
                return start(*args, **kwargs)
            finally:
                if passes:
                    self._door.release()

        return waits


def _at_work(thing: object) -> bool:
    """Of every kind of profiler that Python can start: prepared or started, and without results yet."""
    if type(thing) is not autograd.profile:
        return False
    return bool(getattr(thing, "entered", False)) and getattr(thing, "kineto_results", 1) is None
