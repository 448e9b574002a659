"""Runs tests/host once for every real ComfyUI on this machine: python tests/host/run.py [pytest arguments]."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
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
    threads = max((os.cpu_count() or 1) // beside, 1)
    known = {"OMP_NUM_THREADS": str(threads)} if beside > 1 else {}
    with subprocess.Popen(
        [str(python_of(host)), "-m", "pytest", *tests_of(arguments), *arguments],
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


def tests_of(arguments: list[str]) -> list[str]:
    chosen = any((REPOSITORY / argument.partition("::")[0]).exists() for argument in arguments)
    return ["--import-mode=importlib", *([] if chosen else ["tests/host"])]


def run_all(hosts: list[Path], arguments: list[str], caches: Path) -> list[Path]:
    """The hosts on which a test failed, tested side by side and then one by one.

    A page or a clock may miss its time limit while another host's tests hold the cores. So what
    failed beside others runs again alone; it has failed if it fails there too.
    """
    for host in hosts:
        print(f"ComfyUI {version_of(host)} in {host}", flush=True)
    options = {host: ["-o", f"cache_dir={caches / str(at)}"] for at, host in enumerate(hosts)}
    with ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        codes = pool.map(lambda host: run(host, arguments + options[host], len(hosts)), hosts)
        failed = [host for host, code in zip(hosts, codes, strict=True) if code]
    if len(hosts) == 1:
        return failed
    again = ["--last-failed", "--last-failed-no-failures=none"]
    for host in failed:
        print(f"ComfyUI {version_of(host)}: what failed runs again, alone", flush=True)
    return [host for host in failed if run(host, arguments + options[host] + again, 1)]


def main(arguments: list[str]) -> int:
    # A shell that starts this in the background has its children ignore Ctrl-C; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hosts = find_hosts()
    if not hosts:
        print("host tier skipped: no ComfyUI found; set COMFYUI_PATH to its folder")
    reasons = {host: refusal(host) for host in hosts}
    for reason in filter(None, reasons.values()):
        print(f"host tier skipped: {reason}")
    able = [host for host, reason in reasons.items() if not reason]
    with tempfile.TemporaryDirectory() as caches:
        failures = [version_of(host) for host in run_all(able, arguments, Path(caches))]
    if failures:
        print(f"host tier failed on ComfyUI {', '.join(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
