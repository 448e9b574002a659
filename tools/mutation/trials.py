"""Runs tests against faulty sources, each in a fork of this process, which has loaded torch once for all of them.

python trials.py COPY MUTANTS RESULTS [COMFYUI], in the Python that the tests need. COPY is a copy of the repository.
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

SECONDS = 900.0
FATAL = (1, 2, 3, 4)  # of pytest: a test failed, or the tests could not even be read


def main(copy: Path, mutants: Path, results: Path, host: str = "") -> None:
    """MUTANTS are lines of {file, source, stages: [[test path]]}; RESULTS gets {number, killed, by, seconds}."""
    sys.dont_write_bytecode = True  # two versions of a file in one second would share it
    torch.set_num_threads(1)
    if host:
        _load_host(host)
    os.chdir(copy)
    with results.open("a", encoding="utf-8") as told:
        for line in mutants.read_text(encoding="utf-8").splitlines():
            mutant = json.loads(line)
            found = {"number": mutant["number"], **_tried(copy, mutant)}
            told.write(json.dumps(found) + "\n")
            told.flush()
            print(json.dumps({"file": mutant["file"], **found}), file=sys.stderr, flush=True)
            if found["killed"] and mutant["number"] < 0:
                return


def _load_host(host: str) -> None:
    """As the tests' own fixture does."""
    sys.path.insert(0, host)
    from comfy.cli_args import args

    args.cpu = True
    args.use_pytorch_cross_attention = True
    import comfy.sd  # noqa: F401
    import utils.extra_config  # noqa: F401


def _tried(copy: Path, mutant: dict) -> dict:
    path = copy / mutant["file"]
    before = path.read_bytes()
    began = time.monotonic()
    path.write_text(mutant["source"], encoding="utf-8")
    try:
        for stage in mutant["stages"]:
            if by := _failure(stage):
                return {"killed": True, "by": by, "seconds": time.monotonic() - began}
    finally:
        path.write_bytes(before)
    return {"killed": False, "by": "", "seconds": time.monotonic() - began}


def _failure(tests: list[str]) -> str:
    """What noticed the fault: the first test that failed, or how the run ended; empty for nothing."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            _run(tests, output.fileno())
        code = _waited(child)
        if code is None:
            return f"no end in {SECONDS:g} s"
        if code not in FATAL:
            return "" if code in (0, 5) else f"the process died ({code})"
        output.seek(0)
        failed = [
            line for line in output.read().splitlines() if line.startswith(("FAILED", "ERROR"))
        ]
        return failed[0].partition(" - ")[0] if failed else f"pytest gave {code}"


def _run(tests: list[str], output: int) -> None:
    code = 3
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.setpgid(0, 0)
        options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
        code = int(pytest.main([*options, *tests]))
    finally:
        os._exit(code)


def _waited(child: int) -> int | None:
    deadline = time.monotonic() + SECONDS
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
