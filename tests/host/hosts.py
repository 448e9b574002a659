"""Where real ComfyUI installations are, and the Python that runs each."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = Path.home() / "comfy"
INTERPRETERS = ("bin/python", "Scripts/python.exe")


def find_hosts() -> list[Path]:
    """Every ComfyUI to test against; empty when none is on this machine."""
    named = os.environ.get("COMFYUI_PATH")
    if named:
        return [Path(entry).expanduser().resolve() for entry in named.split(os.pathsep) if entry]
    if REPOSITORY.parent.name == "custom_nodes" and is_host(REPOSITORY.parents[1]):
        return [REPOSITORY.parents[1]]
    return [path for path in sorted(HOME.glob("ComfyUI*")) if is_host(path)]


def is_host(path: Path) -> bool:
    return (path / "main.py").is_file() and (path / "comfyui_version.py").is_file()


def version_of(host: Path) -> str:
    found = re.search(r'"([^"]+)"', (host / "comfyui_version.py").read_text(encoding="utf-8"))
    return found.group(1) if found else "unknown"


def python_of(host: Path) -> Path | None:
    """The host's interpreter: the one named, the environment inside it, else the shared one."""
    named = os.environ.get("COMFYUI_PYTHON")
    if named:
        return Path(named).expanduser()
    folders = [host / "venv", host / ".venv", HOME / "venv"]
    candidates = [folder / name for folder in folders for name in INTERPRETERS]
    return next((path for path in candidates if path.is_file()), None)


def current_host() -> Path:
    """The one ComfyUI that this process tests against."""
    hosts = find_hosts()
    if not hosts:
        raise LookupError("no ComfyUI found; set COMFYUI_PATH to its folder")
    if not is_host(hosts[0]):
        raise LookupError(f"no ComfyUI in {hosts[0]}; set COMFYUI_PATH to its folder")
    python = python_of(hosts[0])
    if python is None or Path(sys.prefix).resolve() != prefix_of(python):
        raise LookupError("not running in ComfyUI's own Python; use python tests/host/run.py")
    return hosts[0]


def prefix_of(python: Path) -> Path:
    # The interpreter of a virtual environment is a link, so it must not be resolved itself.
    return python.parent.parent.resolve()
