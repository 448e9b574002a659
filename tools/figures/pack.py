"""Loads the pack, and a ComfyUI beside it, for the benchmarks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load_pack() -> None:
    """Make `wanattn` importable from this checkout, as ComfyUI loads it."""
    spec = importlib.util.spec_from_file_location("wanattn", ROOT / "__init__.py")
    sys.modules["wanattn"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def load_host(folder: Path, cpu: bool) -> None:
    """Make a ComfyUI and the pack importable."""
    load_pack()
    from wanattn.nodes.host import program

    try:
        program.load(folder, cpu)
    except (ValueError, RuntimeError) as error:
        raise SystemExit(str(error)) from error
