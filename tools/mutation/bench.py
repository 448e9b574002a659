"""A copy of the repository in which faults are tried, one at a time."""

from __future__ import annotations

import argparse
from pathlib import Path

from .places import Mutant
from .tiers import Tier, copied

CPU = {  # the tests of the CPU tier, by the folder of the fault
    "attention": ("tests/attention",),
    "nodes": ("tests/nodes", "tests/commands", "tests/test_locales.py", "tests/test_workflows.py"),
}
STARTS = (
    "server import Server",
    "WindowsServer(",
    "subprocess",
)  # in a file of tests that start processes


class Bench:
    """The CPU tier first; what it does not notice, the tests inside ComfyUI get to see."""

    def __init__(self, root: Path, folder: Path, given: argparse.Namespace, notes: Path) -> None:
        self._root, self.copy = (
            root,
            folder / "wanattn",
        )  # pytest wants a name that Python can import
        copied(root, self.copy)
        notes = notes.resolve()
        self._cpu = {
            room: Tier(self.copy, notes, given.python, tests, given.seconds)
            for room, tests in CPU.items()
        }
        self._host = given.comfyui and Tier(
            self.copy,
            notes,
            given.host_python,
            given.inside.split(",") if given.inside else alone(self.copy),
            given.seconds,
            [given.comfyui],
        )

    def tried(self, mutant: Mutant) -> dict:
        fault = {"file": mutant.file, "place": mutant.place, "source": mutant.source(self._root)}
        found = {}
        for tier in (self._cpu[mutant.file.partition("/")[0]], self._host):
            if tier and not found.get("killed"):
                found = tier.tried(fault)
        named = {"operator": mutant.operator, "occurrence": mutant.occurrence}
        where = {"file": mutant.file, "place": mutant.place, **named}
        return {**where, **found, **self._lines(fault)}

    def end(self) -> None:
        for tier in (*self._cpu.values(), self._host):
            if tier:
                tier.end()

    def _lines(self, fault: dict) -> dict:
        """The line as it was and as it is with the fault."""
        before = (self._root / fault["file"]).read_text(encoding="utf-8").splitlines()
        after = fault["source"].splitlines()
        differ = [pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]]
        was, now = differ[0] if differ else ("", "")
        return {"was": was.strip(), "now": now.strip()}


def alone(copy: Path) -> list[str]:
    """The tests inside ComfyUI that start no process of their own."""
    found = sorted((copy / "tests/host").glob("test_*.py"))
    return [str(path.relative_to(copy)) for path in found if not _starts(path)]


def _starts(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return any(name in text for name in STARTS)
