"""What every benchmark is to the command line, and how far it has come."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .results.row import Results


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One of `wanattn bench kernels|model|workflow`.

    `add_arguments` adds its own options only. `measure` fills `results.rows` in place as it goes, so that what was
    measured survives an interrupt or an error; ValueError, RuntimeError and OSError carry a sentence for the user.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace, Results, Progress], None]


class Progress(Protocol):
    """Both may raise to end the benchmark; what is in its rows by then is kept."""

    def begin(self, total: float) -> None:
        """Once, before the first measurement. `total` in any unit that grows with time."""
        ...

    def advance(self, units: float, what: str) -> None:
        """After a piece of work; `what` names it in a few words."""
        ...
