"""Loads the pack, and a ComfyUI beside it, for the benchmarks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def load_pack() -> None:
    """Make `wanattn` importable from this checkout, as ComfyUI loads it."""
    spec = importlib.util.spec_from_file_location("wanattn", ROOT / "__init__.py")
    sys.modules["wanattn"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def load_host(folder: Path, cpu: bool) -> None:
    """Make a ComfyUI importable; its own folders win over equal names here."""
    if not (folder / "comfy").is_dir():
        raise SystemExit(f"no ComfyUI in '{folder}'; name its folder with --comfyui")
    sys.path[:] = [
        str(folder),
        *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT),
    ]
    from comfy.cli_args import args

    args.cpu = cpu
    load_pack()
