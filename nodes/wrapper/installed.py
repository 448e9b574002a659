"""Whether WanVideoWrapper is there, asked of the disk: the host may load it after this pack, and nothing is imported."""

from __future__ import annotations

from pathlib import Path

import folder_paths

PARTS = ("__init__.py", "wanvideo/modules/attention.py", "wanvideo/modules/model.py")


def installed() -> bool:
    """Whatever its folder is called; the host does not load a folder that ends in .disabled."""
    roots = map(Path, folder_paths.get_folder_paths("custom_nodes"))
    folders = (folder for root in roots if root.is_dir() for folder in root.iterdir())
    return any(map(is_wrapper, folders))


def is_wrapper(folder: Path) -> bool:
    if folder.name.endswith(".disabled"):
        return False
    return all((folder / part).is_file() for part in PARTS)
