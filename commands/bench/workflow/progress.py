"""How far the runs of a benchmark are, shown with every step of a sampler."""

from __future__ import annotations

from ....bench.benchmark import Progress


class RunProgress:
    """Takes it that a run has as many steps as the one before, and in the first one that all samplers have as many."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._doing = ""
        self._weight, self._left = 0.0, 0.0
        self._steps, self._expected, self._samplers = 0, 0, 1

    def begin(self, weight: float, doing: str, samplers: int) -> None:
        """A run that is `weight` of the whole."""
        self._samplers = samplers
        self._weight, self._left = weight, weight
        self._steps, self._doing = 0, doing
        self._progress.advance(0, doing)

    def step(self, number: int, steps: int) -> None:
        self._steps += 1
        expected = self._expected or max(steps, 1) * max(self._samplers, 1)
        units = min(self._weight / expected, self._left)
        self._left -= units
        self._progress.advance(units, f"{self._doing} step {number}/{steps}")

    def end(self, omitted: int = 0) -> None:
        """`omitted` are the later runs like this one that there is no need to do."""
        self._progress.advance(self._left + omitted * self._weight, self._doing)
        self._expected = self._steps or self._expected
