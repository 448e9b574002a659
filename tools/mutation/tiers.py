"""The processes in which faults are tried: some tests and the Python that runs them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

TRIALS = Path(__file__).with_name("trials.py")
NOTING = threading.Lock()  # the first of several jobs takes the notes, the others read them


@dataclass
class Tier:
    """Notes which of its tests reaches which line when the first fault comes, then tries one after the other."""

    copy: Path
    notes: Path
    python: str
    tests: Sequence[str]
    seconds: float
    host: Sequence[str] = ()
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def tried(self, fault: dict) -> dict:
        if self._process is None:
            with NOTING:
                self._process = self._started()
        sent, _ = _pipes(self._process)
        print(json.dumps(fault), file=sent, flush=True)
        return self._reply(self._process)

    def end(self) -> None:
        if self._process is None:
            return
        _pipes(self._process)[0].close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:  # this process was interrupted, that one tries a fault
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    def _started(self) -> subprocess.Popen[str]:
        self.notes.mkdir(parents=True, exist_ok=True)
        words = [self.python, *self.tests, *self.host]
        name = hashlib.sha256("\0".join([*words, digest(self.copy)]).encode()).hexdigest()[:16]
        notes = self.notes / f"{name}.json"
        told = [str(self.copy), ",".join(self.tests), str(notes), str(self.seconds)]
        process = subprocess.Popen(
            [self.python, str(TRIALS), *told, *self.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._host_told()},
            text=True,
            encoding="utf-8",
        )
        known = self._reply(process)
        if "fails" in known:
            sys.exit(f"the tests fail without any fault: {known['fails']}")
        print(
            f"{known['tests']} tests of {', '.join(self.tests)[:80]}", file=sys.stderr, flush=True
        )
        return process

    def _host_told(self) -> dict[str, str]:
        """As tests/host/hosts.py reads them: its tests skip in any other Python."""
        if not self.host:
            return {}
        return {
            "COMFYUI_PATH": os.path.abspath(self.host[0]),
            "COMFYUI_PYTHON": os.path.abspath(self.python),
        }

    def _reply(self, process: subprocess.Popen[str]) -> dict:
        line = _pipes(process)[1].readline()
        return json.loads(line) if line else sys.exit("the process of the tests ended")


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("a process without pipes, needs both")
    return process.stdin, process.stdout


def copied(root: Path, copy: Path) -> None:
    """All that git knows or does not ignore."""
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=root, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, copy / name)


def digest(copy: Path) -> str:
    """Of the Python that is tried and that tries it; differs once one of it does."""
    found = hashlib.sha256()
    for path in sorted(copy.rglob("*.py")):
        found.update(f"{path.relative_to(copy)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]
