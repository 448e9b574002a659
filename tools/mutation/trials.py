"""Runs tests against faulty sources, each in a fork of this process, which has loaded torch once for all of them.

python trials.py COPY MUTANTS RESULTS TESTS [COMFYUI], in the Python that the tests need. COPY is a copy of the
repository, TESTS the paths of tests with commas between them; of these, a fault meets those that reach its line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from reach import Reach, Reached

FOLDERS = ("attention", "nodes")
SECONDS, TIMES = 60.0, 10.0  # what a fault may take: so long, and so much longer than without one
FATAL = (1, 2, 3, 4)  # of pytest: a test failed, or the tests could not even be read


def main(copy: Path, mutants: Path, results: Path, tests: str, host: str = "") -> None:
    """MUTANTS are lines of {number, file, place, source}; RESULTS gets {number, killed, by, tests, seconds}."""
    sys.dont_write_bytecode = True  # two versions of a file in one second would share it
    torch.set_num_threads(1)
    if host:
        _load_host(host)
    os.chdir(copy)
    with results.open("a", encoding="utf-8") as told:
        reached, by = _reached(copy, tests.split(","))
        if reached is None:
            told.write(json.dumps({"number": -1, "killed": True, "by": by}) + "\n")
            return
        for line in mutants.read_text(encoding="utf-8").splitlines():
            mutant = json.loads(line)
            found = {"number": mutant["number"], **_tried(copy, mutant, reached)}
            told.write(json.dumps(found) + "\n")
            told.flush()
            print(json.dumps({"file": mutant["file"], **found}), file=sys.stderr, flush=True)


def _reached(copy: Path, tests: list[str]) -> tuple[Reached | None, str]:
    """What each test runs without any fault, or None and what fails then."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "reach.json")
        _failure(tests, 3600.0, Reach(copy, FOLDERS), notes)
        told = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else None
    if not told:
        return None, "the tests cannot be run"
    if told["failed"]:
        print(f"left out, since they have too little time: {told['failed']}", file=sys.stderr)
        if by := _failure(told["failed"], 3600.0):
            return None, by
    return Reached.of(told["tests"]), ""


def _load_host(host: str) -> None:
    """As the tests' own fixture does."""
    sys.path.insert(0, host)
    from comfy.cli_args import args

    args.cpu = True
    args.use_pytorch_cross_attention = True
    import comfy.sd  # noqa: F401
    import utils.extra_config  # noqa: F401


def _tried(copy: Path, mutant: dict, reached: Reached) -> dict:
    path = copy / mutant["file"]
    before = path.read_bytes()
    tests = reached.tests(mutant["file"], before.decode(), mutant["place"][0])
    limit = SECONDS + TIMES * sum(reached.seconds[test] for test in tests)
    began = time.monotonic()
    path.write_text(mutant["source"], encoding="utf-8")
    try:
        by = _failure(tests, limit) if tests else ""
    finally:
        path.write_bytes(before)
    seconds = round(time.monotonic() - began, 1)
    return {"killed": bool(by), "by": by, "tests": len(tests), "seconds": seconds}


def _failure(
    tests: list[str], limit: float, reach: Reach | None = None, notes: Path | None = None
) -> str:
    """What noticed the fault: the first test that failed, or how the run ended; empty for nothing."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            _run(tests, output.fileno(), reach, notes)
        code = _waited(child, limit)
        if code is None:
            return f"no end in {limit:.0f} s"
        if code not in FATAL:
            return "" if code in (0, 5) else f"the process died ({code})"
        output.seek(0)
        failed = [
            line for line in output.read().splitlines() if line.startswith(("FAILED", "ERROR"))
        ]
        return failed[0].partition(" - ")[0] if failed else f"pytest gave {code}"


def _run(tests: list[str], output: int, reach: Reach | None, notes: Path | None) -> None:
    code = 3
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.setpgid(0, 0)
        options = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
        if reach and notes:
            reach.start()
            pytest.main([*options, *tests], plugins=[reach])
            told = {"tests": reach.told(), "failed": reach.failed}
            notes.write_text(json.dumps(told), encoding="utf-8")
        code = 0 if reach else int(pytest.main(["-x", *options, *tests]))
    finally:
        os._exit(code)


def _waited(child: int, limit: float) -> int | None:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
