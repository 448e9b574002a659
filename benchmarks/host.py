"""A ComfyUI in this process, and its attention functions as backends."""

# pyright: reportMissingImports=false
from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from ..attention.backends import BACKENDS, Backend
from ..attention.failure import words

ROOT = Path(__file__).resolve().parents[1]


def load(folder: Path, cpu: bool, nodes: bool = True) -> None:
    """Import a ComfyUI and the pack's nodes into it, without starting a server; without `nodes` its attention alone.

    Raises ValueError if there is none in `folder`, RuntimeError if it does not load in this Python.
    """
    if not (folder / "comfy").is_dir():
        raise ValueError(f"no ComfyUI in '{folder}'; name its folder with --comfyui")
    before = sys.path[:]
    # Its own folders must win over equal names here: nodes.py there, nodes/ here.
    others = [entry for entry in before if Path(entry or ".").resolve() != ROOT]
    sys.path[:] = [str(folder.resolve()), *others]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what is printed here belongs to the user
            _import(cpu, nodes)
    except Exception as error:  # whatever a foreign program fails with is an answer
        sentence = f"ComfyUI {version()} does not load in this Python ({words(error)})"
        sys.path[:] = before
        raise RuntimeError(f"{sentence}; run wanattn with ComfyUI's own Python") from error


def _import(cpu: bool, nodes: bool) -> None:
    from comfy.cli_args import args

    args.cpu = cpu or args.cpu
    import utils.extra_config  # noqa: F401  as in main.py: later, comfy/utils.py would be in its way

    from ..nodes import hosted

    hosted.register_all()
    if nodes:
        from ..nodes import extension  # noqa: F401


def version() -> str:
    """Of the ComfyUI that is in the path."""
    import comfyui_version

    return comfyui_version.__version__


def functions() -> dict[str, Backend]:
    """Its own attention by name, once it is loaded: `host` is what it takes by default, with its name in the label."""
    from ..nodes import hosted

    return {"host": hosted.default(), **{name: BACKENDS[name] for name in hosted.LABELS}}
