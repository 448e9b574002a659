"""Runs tests/host once for every real ComfyUI on this machine: python tests/host/run.py [pytest arguments]."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hosts import REPOSITORY, find_hosts, is_host, python_of, version_of


def refusal(host: Path) -> str | None:
    """Why this host cannot be tested, or None."""
    if not is_host(host):
        return f"no ComfyUI in {host}"
    python = python_of(host)
    if python is None or not python.is_file():
        return f"no Python for {host}; set COMFYUI_PYTHON"
    if subprocess.run([python, "-c", "import pytest"], capture_output=True).returncode:
        return f"{python} has no pytest"
    return None


def run(host: Path, arguments: list[str]) -> int:
    print(f"ComfyUI {version_of(host)} in {host}", flush=True)
    chosen = any((REPOSITORY / argument.partition("::")[0]).exists() for argument in arguments)
    tests = [] if chosen else ["tests/host"]
    command = [str(python_of(host)), "-m", "pytest", *tests, "--import-mode=importlib"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "COMFYUI_PATH": str(host), "PYTHONDONTWRITEBYTECODE": "1"},
    ).returncode


def main(arguments: list[str]) -> int:
    hosts = find_hosts()
    if not hosts:
        print("host tier skipped: no ComfyUI found; set COMFYUI_PATH to its folder")
    failures = []
    for host in hosts:
        reason = refusal(host)
        if reason:
            print(f"host tier skipped: {reason}")
        elif run(host, arguments):
            failures.append(version_of(host))
    if failures:
        print(f"host tier failed on ComfyUI {', '.join(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
