"""Shows how far a benchmark is on the console and keeps its rows in files meanwhile."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ...bench.results import file
from ...bench.results.row import Results

EVERY = 10.0  # seconds between two savings
BAR = "{desc:28.28} {percentage:3.0f} %|{bar:20}| {elapsed} gone, {remaining} left"


class SavedProgress:
    """A Progress. A saving that fails meanwhile is tried again by the next one; the last one raises OSError."""

    def __init__(self, results: Results, paths: Sequence[Path]) -> None:
        self.results = results
        self.paths = tuple(paths)
        self._bar: tqdm | None = None
        self._saved = time.monotonic()
        self.written: list[Path] = []  # by the last saving

    def begin(self, total: float) -> None:
        self.close()
        if sys.stderr is not None:
            self._bar = tqdm(total=total, desc="starting", bar_format=BAR, file=sys.stderr)

    def advance(self, units: float, what: str) -> None:
        if self._bar is not None:
            self._bar.set_description_str(what.encode("ascii", "replace").decode(), refresh=False)
            self._bar.update(min(units, max(0, self._bar.total - self._bar.n)))
        if time.monotonic() - self._saved >= EVERY:
            with contextlib.suppress(OSError):
                self.save()

    @property
    def holds(self) -> bool:
        """Whether there is anything that is worth an older file's place: reasons alone are, at the end."""
        return any(row.times for row in self.results.rows) or (self.tells and self.results.finished)

    @property
    def tells(self) -> bool:
        """Whether there is anything to show."""
        return any(row.times or row.reason for row in self.results.rows)

    def save(self) -> None:
        """Each file that can be written is; then OSError for the first that could not."""
        self._saved = time.monotonic()
        failures, self.written = [], []
        for path in self.paths if self.holds else ():
            try:
                file.write(self.results, path)
                self.written.append(path)
            except OSError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
