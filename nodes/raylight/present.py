"""Whether Raylight is installed, without importing it: packs load in any order, and it takes seconds."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import folder_paths

SOURCE = Path("src", "raylight", "nodes.py")


def raylight_is_here() -> bool:
    """Loaded already, importable, or in a folder of a pack that the host has yet to load."""
    if "raylight" in sys.modules or find_spec("raylight") is not None:
        return True
    folders = map(Path, folder_paths.get_folder_paths("custom_nodes"))
    packs = (pack for folder in folders if folder.is_dir() for pack in folder.iterdir())
    return any(pack.suffix != ".disabled" and (pack / SOURCE).is_file() for pack in packs)
