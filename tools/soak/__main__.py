"""Everything that may go wrong, for N minutes against a real server: python -m tools.soak --minutes 60 --comfyui PATH

Prints what was tried and what failed. The exit status is 1 after any lie, lost file, wrong backend or growth of memory.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.host.hosts import is_host, prefix_of, python_of

ROOT = Path(__file__).resolve().parents[2]
FAULTS = (
    "raises",
    "out of memory",
    "error without words",
    "no tensor",
    "wrong shape",
    "wrong dtype",
    "bool",
    "wrong device",
    "not finite",
    "another kernel",
)
BESIDE = ("attention", "profiler")
KILL_EVERY = 120.0  # seconds
MEASURE_EVERY = 2.0
TABLE_EVERY = 60.0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--comfyui", type=Path, required=True, metavar="PATH")
    parser.add_argument("--devices", default="cpu", help="cpu, or CUDA devices such as 0 or 0,1")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the table so far, every minute")
    parser.add_argument("--seed", type=int, default=14)
    return parser.parse_args()


def main() -> int:
    given = options()
    host = given.comfyui.expanduser().resolve()
    python = python_of(host)
    if not is_host(host) or python is None:
        sys.exit(f"{host}, needs the folder of a ComfyUI whose Python is found (COMFYUI_PYTHON)")
    if Path(sys.prefix).resolve() != prefix_of(python):
        return subprocess.run([python, "-m", "tools.soak", *sys.argv[1:]], cwd=ROOT).returncode
    sys.path.insert(1, str(host))
    folder = Path(tempfile.mkdtemp(prefix="soak"))
    try:
        return soak(given, host, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def soak(given: argparse.Namespace, host: Path, folder: Path) -> int:
    from .table import Table

    table = Table()
    try:
        with Soak(host, folder, given, table) as one:
            one.until(time.monotonic() + given.minutes * 60)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    table.conclude()
    print(table.text(), flush=True)
    if given.table:
        given.table.write_text(table.text() + "\n", encoding="utf-8")
    return 1 if table.failed else 0


class Soak:
    """One server lives through all of it and is measured; another one is killed and finds hostile files."""

    def __init__(self, host: Path, folder: Path, given: argparse.Namespace, table) -> None:
        from .servers import Soaked, prepare

        self._table = table
        self._chance = random.Random(given.seed)
        self._number = itertools.count(1)
        self._next_kill = self._next_measure = self._next_table = time.monotonic()
        self._file_of_table: Path | None = given.table and given.table.resolve()
        devices = given.devices.split(",")
        self._living = [Soaked(host, folder / f"living{n}", one) for n, one in enumerate(devices)]
        self._mortal = Soaked(host, folder / "mortal", devices[-1])
        for server in (*self._living, self._mortal):
            prepare(server.base)
        self._kinds: dict[str, Callable[[str], list[str]]] = self._all_kinds()

    def __enter__(self) -> Soak:
        for server in (*self._living, self._mortal):
            server.start()
        return self

    def __exit__(self, *error) -> None:
        for server in (*self._living, self._mortal):
            server.stop()

    def until(self, end: float) -> None:
        kinds = itertools.cycle(self._kinds)
        files = itertools.cycle(self._files())
        while time.monotonic() < end:
            for _ in range(3):
                self._try("prompt", self._prompt)
            kind = next(kinds)
            self._try(kind, self._kinds[kind])
            if time.monotonic() >= self._next_kill:
                self._next_kill = time.monotonic() + KILL_EVERY
                self._try("kill -9", self._kill)
                file = next(files)
                self._try(f"timings.json: {file}", lambda key, file=file: self._file(key, file))
            self._measure()

    def _files(self) -> list[str]:
        from .hostile import FILES

        return list(FILES)

    def _all_kinds(self) -> dict[str, Callable[[str], list[str]]]:
        faults = {f"kernel: {one}": self._faulty(one) for one in FAULTS}
        beside = {f"thread beside: {one}": self._beside(one) for one in BESIDE}
        rest = {"hostile input": self._hostile, "interrupt": self._interrupt}
        second = {"second GPU at once": self._both} if len(self._living) > 1 else {}
        return {**faults, **beside, **rest, **second}

    def _try(self, kind: str, act: Callable[[str], list[str]]) -> None:
        key = f"{next(self._number):06}"
        try:
            failures = act(key)
        except Exception as error:
            failures = [f"{type(error).__name__}: {error}"]
        self._table.add(kind, failures)

    def _measure(self) -> None:
        if time.monotonic() >= self._next_measure:
            self._next_measure = time.monotonic() + MEASURE_EVERY
            self._living[0].forget()
            self._table.measure(self._living[0].resident)
        if self._file_of_table and time.monotonic() >= self._next_table:
            self._next_table = time.monotonic() + TABLE_EVERY
            self._file_of_table.write_text(self._table.text() + "\n", encoding="utf-8")

    def _checked(self, server, job, record: dict, ends: str = "success") -> list[str]:
        from .jobs import checked

        wrong, calls = checked(server, job, record, ends)
        self._table.calls += calls
        if not wrong:
            shutil.rmtree(server.output / "soak" / job.key, ignore_errors=True)
        return wrong

    def _prompt(self, key: str) -> list[str]:
        from .jobs import drawn, run

        job = drawn(self._chance, key)
        server = self._chance.choice(self._living)
        return self._checked(server, job, run(server, job))

    def _faulty(self, fault: str) -> Callable[[str], list[str]]:
        def act(key: str) -> list[str]:
            from .jobs import drawn, run

            proof = "every call" if fault == "another kernel" else "sample"
            every = 1 if fault == "another kernel" else self._chance.choice((1, 2, 5))
            given = {"backend": "flash", "fault": fault, "every": every, "proof": proof}
            job = drawn(self._chance, key, **given)
            return self._checked(self._living[0], job, run(self._living[0], job))

        return act

    def _beside(self, what: str) -> Callable[[str], list[str]]:
        def act(key: str) -> list[str]:
            from .jobs import drawn, run

            backend = self._chance.choice(("flash", "math"))
            job = drawn(self._chance, key, backend=backend, beside=what, proof="every call")
            return self._checked(self._living[0], job, run(self._living[0], job))

        return act

    def _hostile(self, key: str) -> list[str]:
        """Refused with a sentence, or run; the server lives on either way."""
        from .hostile import prompt_inputs
        from .jobs import drawn

        server, graph = self._living[0], drawn(self._chance, key).graph()
        try:
            prompt_id = server.queue(prompt_inputs(self._chance, graph))
        except AssertionError as error:
            return [] if "answered 400" in str(error) else [str(error)]
        record = server.wait(prompt_id)
        defects = [one for one in record["status"]["messages"] if one[0] == "execution_error"]
        known = ("ValueError", "TypeError", "NoBackend")
        return [
            f"ended with {error['exception_type']}: {error['exception_message']}"
            for _, error in defects
            if error["exception_type"].rpartition(".")[2] not in known
        ]

    def _interrupt(self, key: str) -> list[str]:
        from .jobs import Job, interrupted

        job = Job(key, self._chance.choice(("flash", "math")), sampling={"steps": 5000, "seed": 1})
        record = interrupted(self._living[0], job, self._chance.uniform(0.2, 3.0))
        return self._checked(self._living[0], job, record, ends="error")

    def _both(self, key: str) -> list[str]:
        """The same moment on two cards, each with a server of its own."""
        from .jobs import drawn

        jobs = [drawn(self._chance, f"{key}-{number}") for number, _ in enumerate(self._living)]
        pairs = list(zip(self._living, jobs, strict=True))
        waiting = [(server, job, server.queue(job.graph())) for server, job in pairs]
        return [
            wrong
            for server, job, prompt_id in waiting
            for wrong in self._checked(server, job, server.wait(prompt_id))
        ]

    def _kill(self, key: str) -> list[str]:
        from .kills import killed

        return killed(self._mortal, self._chance, key)

    def _file(self, key: str, kind: str) -> list[str]:
        from .kills import hostile_file

        return hostile_file(self._mortal, self._chance, key, kind)


if __name__ == "__main__":
    sys.exit(main())
