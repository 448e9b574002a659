"""Runs tests against faulty sources, each in a fork of this process, which has loaded torch once for all of them.

python trials.py COPY TESTS NOTES SECONDS [COMFYUI], in the Python that the tests need. COPY is a copy of the repository,
TESTS the paths of tests with commas between them; of these, a fault meets those that reach its line, as many as take SECONDS without
it. NOTES keeps which reach what. Faults come in as lines of {file, place, source}; for each, {killed, by, tests, of,
seconds} goes out, `of` being how many reach it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from near import Near, readers
from reach import Reach

FOLDERS = ("attention", "nodes")
NEEDS = {"server", "open_page", "browser"}  # fixtures of what runs in other processes too
SECONDS, TIMES = 60.0, 10.0  # what a fault may take: so long, and so much longer than without one
FATAL = (1, 2, 3, 4)  # of pytest: a test failed, or the tests could not even be read


class Alone:
    """A plugin of pytest that leaves out tests whose fixtures run in other processes: no line of theirs is noted."""

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if not NEEDS & set(item.fixturenames)]


def main(copy: Path, tests: str, notes: Path, seconds: str, host: str = "") -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what is loaded may print
    sys.dont_write_bytecode = True  # two versions of a file in one second would share it
    torch.set_num_threads(1)
    if host:
        _load_host(host)
    os.chdir(copy)
    if by := _note(copy, tests.split(","), notes):
        print(json.dumps({"fails": by}), file=replies, flush=True)
        return
    noted = json.loads(notes.read_text(encoding="utf-8"))
    _load(noted["modules"])
    near = Near.of(noted["tests"], readers(copy, FOLDERS))
    print(json.dumps({"tests": len(noted["tests"]) - 1}), file=replies, flush=True)
    for line in sys.stdin:
        print(
            json.dumps(_tried(copy, json.loads(line), near, float(seconds))),
            file=replies,
            flush=True,
        )


def _note(copy: Path, tests: list[str], notes: Path) -> str:
    """Writes what each test runs without any fault, unless it is there; what fails then."""
    if notes.exists():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "notes.json")
        _failure(tests, 3600.0, Reach(copy, FOLDERS), draft)
        if not draft.exists():
            return "the tests cannot be run"
        told = draft.read_text(encoding="utf-8")
    if late := json.loads(told)["failed"]:
        print(f"left out, since they have too little time: {late}", file=sys.stderr)
        if by := _failure(late, 3600.0):
            return by
    notes.write_text(told, encoding="utf-8")
    return ""


def _load_host(host: str) -> None:
    """As the tests' own fixture does."""
    sys.path.insert(0, host)
    from comfy.cli_args import args

    args.cpu = True
    args.use_pytorch_cross_attention = True
    import comfy.sd  # noqa: F401
    import utils.extra_config  # noqa: F401


def _load(modules: list[str]) -> None:
    """What the tests load of packages, so that it is there in each fork."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _tried(copy: Path, mutant: dict, near: Near, most: float) -> dict:
    path = copy / mutant["file"]
    code = path.read_text(encoding="utf-8")
    reaching = near.tests(mutant["file"], code, mutant["place"][0])
    tests = near.within(reaching, most)
    limit = SECONDS + TIMES * sum(near.seconds[test] for test in tests)
    began = time.monotonic()
    by = _by(path, mutant["source"], tests, limit)
    while (test := by.partition(" ")[2]) in tests and _failure([test], limit):
        tests.remove(test)  # it fails without the fault too, on a machine as busy as this
        by = _by(path, mutant["source"], tests, limit)
    took = round(time.monotonic() - began, 1)
    told = {"tests": len(tests), "of": len(reaching), "seconds": took}
    return {"killed": bool(by), "by": by, **told}


def _by(path: Path, source: str, tests: list[str], limit: float) -> str:
    before = path.read_bytes()
    path.write_text(source, encoding="utf-8")
    try:
        return _failure(tests, limit) if tests else ""
    finally:
        path.write_bytes(before)


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
            pytest.main([*options, *tests], plugins=[reach, Alone()])
            told = {"tests": reach.told(), "failed": reach.failed, "modules": _packages()}
            notes.write_text(json.dumps(told), encoding="utf-8")
        code = 0 if reach else int(pytest.main(["-x", *options, *tests]))
    finally:
        os._exit(code)


def _packages() -> list[str]:
    """What is loaded by now of installed packages, in the order in which it was."""
    files = ((name, getattr(module, "__file__", None)) for name, module in sys.modules.items())
    return [name for name, file in files if file and "site-packages" in file]


def _waited(child: int, limit: float) -> int | None:
    deadline = time.monotonic() + limit
    try:
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                child = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return None
    finally:
        if child:  # late, or this process was interrupted
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
