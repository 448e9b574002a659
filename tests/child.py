"""A process that runs beside the tests until one of them asks how it ended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 300


class Child:
    """What it says is read at its end: pages of it would have it wait."""

    def __init__(self, command: list[str], folder: Path | None = None) -> None:
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ended(self) -> subprocess.CompletedProcess[str]:
        out, err = self._process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(self._process.args, self._process.returncode, out, err)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def children(commands: dict[str, list[str]], folder: Path | None = None) -> Iterator[dict]:
    """All at once, by name; none outlives this."""
    started = {name: Child(command, folder) for name, command in commands.items()}
    try:
        yield started
    finally:
        for child in started.values():
            child.stop()
