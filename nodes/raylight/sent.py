"""The functions that an actor is sent. They travel by value and know nothing but the pack's folder: an actor has
neither the host's list of packs nor the name under which the host has loaded this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parents[2])


def sent(entry: str, folder: str = FOLDER) -> Callable:
    """A function that has `entry` of `rank` in the actor run on its model, with plain data in and out.

    The folder is used where the actor's machine has it, else the pack as installed there.
    """

    def run(model, *given):
        import sys
        from importlib import util
        from pathlib import Path

        start = Path(folder, "__init__.py")
        if "wanattn" not in sys.modules and start.is_file():
            spec = util.spec_from_file_location("wanattn", start)
            if spec and spec.loader:
                sys.modules["wanattn"] = util.module_from_spec(spec)
                spec.loader.exec_module(sys.modules["wanattn"])
        try:
            from wanattn.nodes.raylight import rank
        except ImportError as error:
            raise RuntimeError(
                f"Wan Attention not found by a Ray actor ({error}), needs its folder at {folder} "
                "or the package wanattn in the actor's Python"
            ) from None
        return getattr(rank, entry)(model, *given)

    return run
