"""Names and paths that Windows does not keep, or keeps in another place."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DEVICES = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10)),
}
FORBIDDEN = '<>:"|?*'  # a colon would hide the file behind another one
LONGEST = 259


def trouble(path: Path, windows: bool = sys.platform == "win32") -> str:
    """Why a file cannot have this name, empty where it can: everywhere but on Windows."""
    if not windows:
        return ""
    stem = path.name.partition(".")[0].rstrip(" ")
    if stem.upper() in DEVICES:
        return f"the name '{path.name}' is a device's on Windows, needs another"
    forbidden = "".join(sorted(set(path.name) & set(FORBIDDEN)))
    if forbidden:
        return f"the name '{path.name}' holds {forbidden}, which Windows keeps for itself"
    if path.name != path.name.rstrip(" ."):
        return f"the name '{path.name}' ends in a dot or a space, which Windows leaves out"
    return ""


def explained(error: OSError, path: Path, windows: bool = sys.platform == "win32") -> str:
    """The system's own words; Windows says of a path that is too long that there is no such file."""
    words = error.strerror or str(error)
    length = len(os.path.abspath(path))
    if not windows or length <= LONGEST:
        return words
    return f"{words}; the path has {length} letters, and Windows takes {LONGEST} unless long paths are switched on"
