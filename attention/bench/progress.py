"""How far a benchmark is, told to whoever wants to know."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Both may raise to end the benchmark; what is in its rows by then is kept."""

    def begin(self, total: float) -> None:
        """Once, before the first measurement. `total` in any unit that grows with time."""
        ...

    def advance(self, units: float, what: str) -> None:
        """After a piece of work; `what` names it in a few words."""
        ...
