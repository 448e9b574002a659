"""Whether WanVideoWrapper is there, asked of the disk: the host may load it after this pack, and nothing is imported."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy_api.v0_0_2 import io

Model = io.Custom("WANVIDEOMODEL")
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


def any_model(given: io.Model.Input) -> io.Input:
    """An input for the host's models, and for the wrapper's where it is there."""
    return io.MultiType.Input(given, types=[Model]) if installed() else given
