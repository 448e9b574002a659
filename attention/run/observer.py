"""Calls that the pack leaves to others: told as they are seen."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..call import Call
from ..record import evidence
from ..record.record import Record, Sighting
from .forward import Forward


class Observer:
    """Leaves calls to a function that the pack does not know, and tells what it ran.

    One call of each kind is profiled until `reset`, unless the forward asks for more or for none; the others
    of that kind take over what was seen. A function that may change its mind is profiled once a step.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple, Sighting] = {}

    def reset(self) -> None:
        self._seen.clear()

    def run(
        self,
        call: Call,
        function: Callable[[], torch.Tensor],
        name: str,
        forward: Forward,
        block: int | None,
        reason: str = "",
        wish: str = "",
        fickle: bool = False,
    ) -> torch.Tensor:
        """Return the function's result. `name` is what to call it where the profiler knows nothing better.

        `wish` is what was asked for this call, where that is not what the forward says. A `fickle` function may
        run something else in another step.
        """
        forward.handled = False
        device = torch.device(call.device)
        wish = wish or forward.wish or "host"
        record = Record(call, wish, name, "host", reason, forward.step, block, forward.cond)
        kind = (call, name, forward.step if fickle else None)
        result = self._attend(kind, function, record, forward, device)
        if forward.handled:  # an override of ours further down took the call and recorded it
            return result
        if sighting := self._seen.get(kind):
            record.active = sighting.name or name
            record.evidence, record.sighting = "profiled", sighting
        forward.add(record)
        return result

    def _attend(
        self,
        kind: tuple,
        function: Callable[[], torch.Tensor],
        record: Record,
        forward: Forward,
        device,
    ) -> torch.Tensor:
        seen = forward.proof != "every call" and kind in self._seen
        if seen or forward.proof == "off":
            return forward.timed(function, device, record)
        result, sighting = evidence.watch(function, device)
        if sighting:
            self._seen[kind] = sighting
            record.milliseconds = sighting.milliseconds
        return result
