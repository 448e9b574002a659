"""Runs tests/host once for every real ComfyUI on this machine: python tests/host/run.py [pytest arguments]."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


def run(host: Path, arguments: list[str], beside: int) -> int:
    """`beside` is how many hosts are tested at the same time; they share the cores."""
    name = f"ComfyUI {version_of(host)}"
    print(f"{name} in {host}", flush=True)
    chosen = any((REPOSITORY / argument.partition("::")[0]).exists() for argument in arguments)
    tests = [] if chosen else ["tests/host"]
    command = [str(python_of(host)), "-m", "pytest", *tests, "--import-mode=importlib"]
    threads = max((os.cpu_count() or 1) // beside, 1)
    known = {"OMP_NUM_THREADS": str(threads)} if beside > 1 else {}
    with subprocess.Popen(
        [*command, "-p", "no:cacheprovider", *arguments],
        cwd=REPOSITORY,
        env={**known, **os.environ, "COMFYUI_PATH": str(host), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE if beside > 1 else None,
        stderr=subprocess.STDOUT if beside > 1 else None,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as tests_of_host:
        for line in tests_of_host.stdout or ():
            print(f"{name} | {line}", end="", flush=True)
    return tests_of_host.returncode


def main(arguments: list[str]) -> int:
    hosts = find_hosts()
    if not hosts:
        print("host tier skipped: no ComfyUI found; set COMFYUI_PATH to its folder")
    reasons = {host: refusal(host) for host in hosts}
    for reason in filter(None, reasons.values()):
        print(f"host tier skipped: {reason}")
    able = [host for host, reason in reasons.items() if not reason]
    with ThreadPoolExecutor(max(len(able), 1)) as pool:
        codes = pool.map(lambda host: run(host, arguments, len(able)), able)
        failures = [version_of(host) for host, code in zip(able, codes, strict=True) if code]
    if failures:
        print(f"host tier failed on ComfyUI {', '.join(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
