"""A Windows Python under Wine, with the packages of a ComfyUI: WANATTN_WINDOWS names the folder that it was set up in.

That folder holds `py/python.exe`, a root with Wine, its prefix, and in comfyui.txt the ComfyUI that it can run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .hosts import REPOSITORY
from .server import Server

PACK = (
    "__init__.py",
    "__main__.py",
    "version.py",
    "attention",
    "bench",
    "commands",
    "nodes",
    "web",
)
SHARED = Path(tempfile.gettempdir()).resolve()
STARTER = 'cd "$0" && exec wine "$@"'  # exec: ending the process that was started ends Python
# Under Wine's own C++ runtime a Python that used torch's profiler does not end.
LIBRARIES = "WINEDLLOVERRIDES=mscoree=;mshtml=;msvcp140=n,b"


def find_windows() -> Path:
    """LookupError with the reason where there is none."""
    named = os.environ.get("WANATTN_WINDOWS")
    if not named:
        raise LookupError(
            "WANATTN_WINDOWS not set; it names a folder with a Windows Python under Wine"
        )
    folder = Path(named).expanduser().resolve()
    for part in ("py/python.exe", "root/usr/bin/wine", "comfyui.txt"):
        if not os.path.lexists(folder / part):  # a link into that root looks broken from here
            raise LookupError(f"no {part} in {folder}, which WANATTN_WINDOWS names")
    if os.geteuid():
        raise LookupError("Wine lives in a root of its own here, which only root can enter")
    return folder


class WindowsServer(Server):
    """ComfyUI under that Python. Its base folder lies in the folder that both systems see."""

    start_seconds, run_seconds = 400, 400

    def __init__(self, folder: Path, base: Path):
        super().__init__(Path((folder / "comfyui.txt").read_text().strip()), base)
        self.folder = folder
        if not base.is_relative_to(SHARED):
            raise LookupError(f"{base} is not in {SHARED}, which Wine's root shares")
        for path in (SHARED, folder, self.host):
            _bind(path, folder / "root")

    def _command(self) -> list[str]:
        prefix = f"WINEPREFIX={self.folder}/prefix"
        quiet = ["WINEDEBUG=-all", LIBRARIES, "PYTHONUNBUFFERED=1"]
        start = [
            "chroot",
            f"{self.folder}/root",
            "/usr/bin/env",
            "-i",
            "HOME=/root",
            prefix,
            *quiet,
        ]
        start += ["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "/bin/bash", "-c", STARTER, str(self.base)]
        python = str(self.folder / "py" / "python.exe")
        return [*start, python, f"Z:{self.host}/main.py", *self._arguments(f"Z:{self.base}")]


def _bind(path: Path, root: Path) -> None:
    """Show a folder inside Wine's root under its own name, unless a folder above it is shown already."""
    target = root / path.relative_to("/")
    if any(part.is_mount() for part in (target, *target.parents) if part.is_relative_to(root)):
        return
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", path, target], check=True)


def copy_pack(base: Path) -> None:
    """The pack and the tests' own nodes as files: Wine makes no links, and Windows users have none."""
    nodes = base / "custom_nodes"
    (nodes / "wanattn").mkdir(parents=True)
    for name in PACK:
        source, target = REPOSITORY / name, nodes / "wanattn" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    shutil.copy2(Path(__file__).with_name("pack") / "testing_nodes.py", nodes)
