"""Mutation testing: python -m tools.mutation --sample 400 --seed 14 --python .venv/bin/python --comfyui PATH

Makes small faults in attention/ and nodes/, one at a time in a copy of the repository, and lists those that no test
notices. Runs in an environment of its own with cosmic-ray; `--python` and `--host-python` run the tests. What was
tried is written at once: the same words go on where they were cut off.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .places import Mutant, sample
from .results import Results, fault_of, lines_of
from .tiers import Tier, copied, digest

ROOT = Path(__file__).resolve().parents[2]
CPU = {  # the tests of the CPU tier, by the folder of the fault
    "attention": ("tests/attention",),
    "nodes": ("tests/nodes", "tests/commands", "tests/test_locales.py", "tests/test_workflows.py"),
}
STARTS = ("Server(", "subprocess")  # in a file of tests that start processes themselves


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("--folders", default="attention,nodes", metavar="A,B")
    parser.add_argument("--sample", type=int, default=400, help="faults; default 400")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="of the CPU tier")
    parser.add_argument("--comfyui", metavar="PATH", help="for the tests inside a real ComfyUI")
    parser.add_argument("--host-python", help="ComfyUI's own")
    parser.add_argument(
        "--inside", metavar="A,B", help="tests for ComfyUI; default all that need no server"
    )
    parser.add_argument("--results", type=Path, help="keeps what was tried as lines of JSON")
    parser.add_argument("--again", type=Path, help="try the survivors of such a file, no new ones")
    parser.add_argument("--notes", type=Path, help="a folder that keeps which test runs which line")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="of tests for a fault; default 120"
    )
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no fault after these")
    return parser.parse_args()


def main() -> int:
    given = options()
    if bool(given.comfyui) != bool(given.host_python):
        sys.exit("--comfyui and --host-python, needs both or none")
    if given.again:
        mutants = survivors_of(given.again)
    else:
        mutants = sample(ROOT, given.folders.split(","), given.sample, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), given)
        with contextlib.closing(trials):
            tried = list(trials.run(mutants, time.monotonic() + 60 * given.minutes))
    return told(tried)


def survivors_of(path: Path) -> list[Mutant]:
    return [Mutant(*fault_of(one)) for one in lines_of(path) if not one["killed"]]


class Trials:
    """The CPU tier first; what it does not notice, the tests inside ComfyUI get to see."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        copy = folder / "wanattn"  # pytest wants a name that Python can import
        copied(ROOT, copy)
        self._results = Results(given.results, digest(copy))
        notes = (given.notes or folder / "notes").resolve()
        self._cpu = {
            room: Tier(copy, notes, given.python, tests, given.seconds)
            for room, tests in CPU.items()
        }
        self._host = given.comfyui and Tier(
            copy,
            notes,
            given.host_python,
            given.inside.split(",") if given.inside else alone(copy),
            given.seconds,
            [given.comfyui],
        )

    def run(self, mutants: list[Mutant], until: float) -> Iterator[dict]:
        """What was tried of these before comes from the results, the rest is tried."""
        known = self._results.known()
        for mutant in mutants:
            fault = dataclasses.astuple(mutant)
            if fault in known:
                yield known[fault]
            elif time.monotonic() < until:
                yield self._results.keep(self._tried(mutant))

    def close(self) -> None:
        for tier in (*self._cpu.values(), self._host):
            if tier:
                tier.end()

    def _tried(self, mutant: Mutant) -> dict:
        fault = {"file": mutant.file, "place": mutant.place, "source": mutant.source(ROOT)}
        found = {}
        for tier in (self._cpu[mutant.file.partition("/")[0]], self._host):
            if tier and not found.get("killed"):
                found = tier.tried(fault)
        named = {"operator": mutant.operator, "occurrence": mutant.occurrence}
        where = {"file": mutant.file, "place": mutant.place, **named}
        return {**where, **found, **_lines(fault)}


def alone(copy: Path) -> list[str]:
    """The tests inside ComfyUI that start no process of their own."""
    found = sorted((copy / "tests/host").glob("test_*.py"))
    return [str(path.relative_to(copy)) for path in found if not _starts(path)]


def _starts(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return any(name in text for name in STARTS)


def _lines(one: dict) -> dict:
    """The line as it was and as it is with the fault."""
    before = (ROOT / one["file"]).read_text(encoding="utf-8").splitlines()
    after = one["source"].splitlines()
    differ = [pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]]
    was, now = differ[0] if differ else ("", "")
    return {"was": was.strip(), "now": now.strip()}


def told(tried: list[dict]) -> int:
    """Prints the survivors and their share; the exit status is 1 where there are any."""
    left = [one for one in tried if not one["killed"]]
    for one in sorted(left, key=lambda one: (one["file"], one["place"])):
        met = f"{one['tests']} of {one['of']} tests"
        print(f"{one['file']}:{one['place'][0]}  {met}\n  - {one['was']}\n  + {one['now']}")
    print(f"{len(left)} of {len(tried)} faults survived ({len(left) / max(len(tried), 1):.1%})")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
