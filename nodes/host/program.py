"""A ComfyUI in this process, and its attention functions as backends."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path

from ...attention.backends import BACKENDS, Backend
from ...attention.environment import Environment
from ...attention.failure import words


def find_host(given: Path | None = None) -> Path | None:
    """The ComfyUI that the pack sits in, else one in or above the current folder, else in the usual places."""
    if given is not None:
        if not _is_host(given):
            raise ValueError(
                f"no ComfyUI in '{given}'; expected a folder with main.py and comfyui_version.py"
            )
        return given
    above = Path(__file__).resolve().parents
    beside = Path(sys.executable).parent.parent / "ComfyUI"  # of the portable build's Python
    usual = (beside, Path("ComfyUI"), Path.home() / "ComfyUI", Path.home() / "comfy" / "ComfyUI")
    return next(filter(_is_host, (*above, Path.cwd(), *Path.cwd().parents, *usual)), None)


def _is_host(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfyui_version.py").is_file()


def host_default(environment: Environment) -> str:
    """The attention that ComfyUI takes when it is started with no attention flag."""
    if environment.gpus and importlib.util.find_spec("xformers"):
        return "xformers"
    if environment.cuda:
        return "pytorch"
    return "pytorch on supported AMD cards, else sub_quad" if environment.hip else "sub_quad"


ROOT = Path(__file__).resolve().parents[2]


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

    from . import functions

    functions.register_all()
    if nodes:
        from .. import extension  # noqa: F401


def version() -> str:
    """Of the ComfyUI that is in the path."""
    import comfyui_version

    return comfyui_version.__version__


def functions() -> dict[str, Backend]:
    """Its own attention by name, once it is loaded: `host` is what it takes by default, with its name in the label."""
    from . import functions

    return {"host": functions.default(), **{name: BACKENDS[name] for name in functions.LABELS}}
