"""Where a sampler is: the step that it is in, by its own loop, and the conditionings that it asks for, by their names."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Sequence
from types import CodeType, FrameType

from ....attention.run.follow import local

INDEXES = (
    "step",
    "step_index",
    "i",
)  # what samplers name the number of their step, the surest first
LEVELS = ("sigmas", "timesteps")  # what they name the noise levels that they go along
MOST_FRAMES = 100  # from a forward up to its sampler
GUESSED = "the sampler does not show which step it is in: steps are told, and rules by step apply, by the nearest noise level"
BY_POSITION = {0: "positive", 1: "negative"}  # in the host's list of what a batch holds


class Sampler:
    """One run of a sampler. `guider` is the host's, whose conditionings have names; `guessed` is whether a step was."""

    def __init__(self, guider: object = None, sigmas: list[float] | None = None) -> None:
        self._guider = guider
        self._sigmas = sigmas or []
        self.guessed = False
        self._thread = threading.get_ident()
        self._last: int | None = None
        self._told = 0
        self._names: dict[object, list[str]] = {}
        self._loops: dict[int, tuple[CodeType, str | None]] = {}
        self._placed: dict[int, str] = {}  # what stands where in the host's list of a batch

    @property
    def steps(self) -> int:
        return max(len(self._sigmas) - 1, 0)

    def over(self) -> None:
        """Let go of the guider, which holds the model."""
        self._guider = None
        self._names.clear()
        self._loops.clear()
        self._placed.clear()

    def heard(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """What the host's sampler is called with after its noise levels, with a callback that this one hears too."""
        if len(args) < 2:
            return args, dict(kwargs, callback=self._hearing(kwargs.get("callback")))
        mask, callback, *rest = args
        return (mask, self._hearing(callback), *rest), kwargs

    def _hearing(self, callback: Callable | None) -> Callable:
        def told(step, *given, **named):
            self._told = step
            return callback(step, *given, **named) if callback else None

        return told

    def step(self, sigma: float) -> int | None:
        """Of the forward that begins now: by the sampler's loop; where that is not seen, by callback and noise level."""
        steps = self.steps
        found = self._in_loop(self._frame(), steps)
        if found is None:
            found = self._by_level(sigma)
            self.guessed |= bool(steps)
        self._last = found
        return found

    def _frame(self) -> FrameType | None:
        """Of the sampler: a thread for another device has none of its loop, which waits for it meanwhile."""
        if threading.get_ident() == self._thread:
            return sys._getframe(2)
        return sys._current_frames().get(self._thread)

    def _in_loop(self, frame: FrameType | None, steps: int) -> int | None:
        """The number that the innermost loop over noise levels is at, if there is one."""
        for _ in range(MOST_FRAMES):
            if frame is None:
                return None
            code = frame.f_code
            if id(code) not in self._loops:  # the code is kept with it, so that its id is its own
                self._loops[id(code)] = code, _index_in(code)
            _, index = self._loops[id(code)]
            found = local(frame, index) if index else None
            if isinstance(found, int) and 0 <= found < max(steps, 1):
                return found
            frame = frame.f_back
        return None

    def _by_level(self, sigma: float) -> int | None:
        """The step of the nearest level that is not over; where a sampler comes back to a level, the next one of it."""
        steps = range(self.steps)

        def far(step: int) -> tuple[float, bool]:
            over = self._last is not None and step < self._last
            return abs(sigma - self._sigmas[step]), over

        return min(steps[self._told :] or steps[-1:], key=far, default=None)

    def cond(self, options: dict) -> str:
        """The conditionings of this forward, such as `positive+negative` for a batch of both."""
        uuids, positions = options.get("uuids") or (), options.get("cond_or_uncond") or ()
        if any(uuid not in self._names for uuid in uuids):
            self._names = _named(getattr(self._guider, "conds", None))
        parts = [
            (self._names.get(uuid, ()), position)
            for uuid, position in itertools.zip_longest(uuids[: len(positions)], positions)
        ]
        self._placed.update({at: names[0] for names, at in parts if len(names) == 1})
        return "+".join(dict.fromkeys(self._name(names, at) for names, at in parts))

    def _name(self, names: Sequence[str], position: int) -> str:
        """Of one part of a batch: an area of one conditioning lends its identity to the other's part beneath it."""
        known = (self._placed.get(position), BY_POSITION.get(position), *names)
        found = next((name for name in known if name in names), None)
        return found or BY_POSITION.get(position, str(position))


def _named(conds: object) -> dict[object, list[str]]:
    if not isinstance(conds, dict):
        return {}
    found: dict[object, list[str]] = {}
    for name, parts in conds.items():
        for uuid in {cond.get("uuid") for cond in parts or () if isinstance(cond, dict)}:
            found.setdefault(uuid, []).append(name)
    return found


def _index_in(code: CodeType) -> str | None:
    """The name of the number of its step, where this is the code of a loop over noise levels."""
    names = {*code.co_varnames, *code.co_cellvars}
    return next(filter(names.__contains__, INDEXES), None) if names.intersection(LEVELS) else None
