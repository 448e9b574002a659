"""Times backends in each cell, in turns, so that a card that heats up favours none."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...attention.backends import Backend
from ..benchmark import Progress
from ..results.row import Results
from .case import Cell
from .rate import Rate
from .rounds import Heat

ROUNDS = 5
WARM_UP = 0.5  # seconds of matrix products before the first cell, until the clocks are up


def race(
    cells: Sequence[Cell],
    backends: Sequence[Backend],
    results: Results,
    progress: Progress,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    settings: str = "",
) -> None:
    """Add a row for each backend in each cell and fill it; a backend that cannot run gets the reason.

    What `progress` raises ends the race; rows that have no times by then say so.
    """
    if rounds < 1:
        raise ValueError(f"rounds {rounds}, needs at least 1")
    with torch.inference_mode():
        rates = _rates(cells)
        heats = [
            Heat(cell, backends, rates[_kind(cell)], results, progress, rounds, settings)
            for cell in cells
        ]
        progress.begin(sum(heat.total for heat in heats))
        for heat in heats:
            heat.run(seed)


def _kind(cell: Cell) -> tuple[str, torch.dtype]:
    return cell.call.device, cell.call.dtype


def _rates(cells: Sequence[Cell]) -> dict[tuple[str, torch.dtype], Rate | None]:
    """One a device and dtype, warmed up; None where the device multiplies no such matrices."""
    rates: dict[tuple[str, torch.dtype], Rate | None] = {}
    for device, dtype in dict.fromkeys(map(_kind, cells)):
        try:
            rate = Rate(torch.device(device), dtype)
            rate.warm_up(WARM_UP)
        except RuntimeError:
            rate = None
        rates[device, dtype] = rate
    return rates
