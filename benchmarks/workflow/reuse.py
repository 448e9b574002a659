"""Whether the server takes anything from its cache from one run to the next."""

from __future__ import annotations

from .trial import Trial

NOTHING_KEPT = "The server kept nothing from run to run (see --cache-none), so whole times include all loading."


class Reuse:
    """One run without is no sign: the first may find an empty cache anywhere, a later one a cache that was just emptied."""

    def __init__(self) -> None:
        self._found: list[bool] = []

    def add(self, trial: Trial) -> None:
        self._found.append(bool(trial.cached))

    def notes(self) -> list[str]:
        later = self._found[1:]
        return [NOTHING_KEPT] if later and not any(later) else []
