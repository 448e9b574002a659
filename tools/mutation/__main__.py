"""Mutation testing: python -m tools.mutation --sample 400 --seed 14 --python .venv/bin/python --comfyui PATH

Makes small faults in attention/ and nodes/, one at a time in a copy of the repository for each job, and lists those that no test
notices. Runs in an environment of its own with cosmic-ray; `--python` and `--host-python` run the tests. What was
tried is written at once: the same words go on where they were cut off.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import queue
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from .bench import Bench
from .places import Mutant, sample
from .results import Results, fault_of, lines_of
from .tiers import digest

ROOT = Path(__file__).resolve().parents[2]


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
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time; default 1")
    return parser.parse_args()


def main() -> int:
    given = options()
    if bool(given.comfyui) != bool(given.host_python):
        sys.exit("--comfyui and --host-python, needs both or none")
    if given.jobs < 1:
        sys.exit(f"--jobs {given.jobs}, needs at least 1")
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
    """One bench for each job; whoever is free takes the next fault."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self._benches = [
            Bench(ROOT, folder / str(number), given, given.notes or folder / "notes")
            for number in range(given.jobs)
        ]
        self._results = Results(given.results, digest(self._benches[0].copy))

    def run(self, mutants: list[Mutant], until: float) -> Iterator[dict]:
        """What was tried of these before comes from the results, the rest is tried until then."""
        known = self._results.known()
        faults = {dataclasses.astuple(mutant): mutant for mutant in mutants}
        yield from (known[fault] for fault in faults if fault in known)
        free: queue.SimpleQueue[Bench] = queue.SimpleQueue()
        for bench in self._benches:
            free.put(bench)
        with cancelling(ThreadPoolExecutor(len(self._benches))) as pool:
            left = [mutant for fault, mutant in faults.items() if fault not in known]
            waited = [pool.submit(_tried, free, mutant, until) for mutant in left]
            for one in as_completed(waited):
                if tried := one.result():
                    yield self._results.keep(tried)

    def close(self) -> None:
        for bench in self._benches:
            bench.end()


def _tried(free: queue.SimpleQueue[Bench], mutant: Mutant, until: float) -> dict | None:
    if time.monotonic() >= until:
        return None
    bench = free.get()
    try:
        return bench.tried(mutant)
    finally:
        free.put(bench)


@contextlib.contextmanager
def cancelling(pool: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """What has not begun never begins once this was interrupted."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


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
