"""Whose choices a model's calls come under, also once its run is over, and what they gained."""

from __future__ import annotations

from ....attention.record.recorder import Snapshot
from ....attention.report.gain import gain_of
from ....attention.run.dispatch import Dispatcher
from ..override import KEY, Override


class Taking:
    """Of one node's model. `dispatcher` is None where nothing takes its calls."""

    def __init__(self) -> None:
        self.dispatcher: Dispatcher | None = None
        self._before = 0.0

    def look(self, model) -> Dispatcher | None:
        """Anew for every run: nodes may have been wired after the one that looks."""
        override = taker_of(model)
        self.dispatcher = override.dispatcher if override else None
        self._before = self._spent()
        return self.dispatcher

    @property
    def measuring(self) -> float:
        """Seconds since the last look that finding out what is fast has taken."""
        return (self._spent() - self._before) / 1e3

    def gain(self, snapshot: Snapshot | None) -> dict | None:
        if self.dispatcher is None or snapshot is None:
            return None
        return gain_of(snapshot, self.dispatcher.beside.milliseconds)

    def _spent(self) -> float:
        return self.dispatcher.tuning if self.dispatcher else 0.0


def taker_of(model) -> Override | None:
    """The most downstream Attention Backend that decides anything."""
    known = [tap.override for tap in model.get_attachment(KEY) or ()]
    takers = [override for override in known if override and override.dispatcher.chooses]
    return takers[-1] if takers else None
