"""How deep a benchmark looks: attention kernels, a whole model, a workflow on a server."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from .progress import Progress
from .row import Results


@dataclass(frozen=True, slots=True)
class Depth:
    """One of `wanattn bench kernels|model|workflow`.

    `add_arguments` adds its own options only. `measure` fills `results.rows` in place as it goes, so that what was
    measured survives an interrupt or an error; ValueError, RuntimeError and OSError carry a sentence for the user.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace, Results, Progress], None]
