"""Times backends in each case, in turns, so that a card that races up favours none."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...attention.backends import Backend
from ..benchmark import Progress
from ..results.row import Results
from .case import Case
from .rate import Rate
from .rounds import CaseRace

ROUNDS = 5
WARM_UP = 0.5  # seconds of matrix products before the first case, until the clocks are up


def race(
    cases: Sequence[Case],
    backends: Sequence[Backend],
    results: Results,
    progress: Progress,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    settings: str = "",
) -> None:
    """Add a row for each backend in each case and fill it; a backend that cannot run gets the reason.

    What `progress` raises ends the race; rows that have no times by then say so.
    """
    if rounds < 1:
        raise ValueError(f"rounds {rounds}, needs at least 1")
    with torch.inference_mode():
        rates = _rates(cases)
        races = [
            CaseRace(case, backends, rates[_kind(case)], results, progress, rounds, settings)
            for case in cases
        ]
        progress.begin(sum(each.total for each in races))
        for each in races:
            each.run(seed)


def _kind(case: Case) -> tuple[str, torch.dtype]:
    return case.call.device, case.call.dtype


def _rates(cases: Sequence[Case]) -> dict[tuple[str, torch.dtype], Rate | None]:
    """One a device and dtype, warmed up; None where the device multiplies no such matrices."""
    rates: dict[tuple[str, torch.dtype], Rate | None] = {}
    for device, dtype in dict.fromkeys(map(_kind, cases)):
        try:
            rate = Rate(torch.device(device), dtype)
            rate.warm_up(WARM_UP)
        except RuntimeError:
            rate = None
        rates[device, dtype] = rate
    return rates
