"""A Python that lacks what every command needs, as any but ComfyUI's own may: said before anything is loaded."""

from __future__ import annotations

import importlib.util
import sys

NEEDED = ("torch", "einops", "filelock", "numpy", "safetensors", "psutil", "tqdm")
MISSING = 2


def say_absent(error: ModuleNotFoundError) -> int:
    """The exit code. An error that is not about one of these is raised again."""
    first = (error.name or "").partition(".")[0]
    if first not in NEEDED:
        raise error
    absent = [name for name in NEEDED if name == first or importlib.util.find_spec(name) is None]
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    sys.stderr.write(
        f"wanattn: {python} has no {', '.join(absent)}, which every command needs.\n"
        "Run it with ComfyUI's own Python, which has them, or install them into this one:\n"
        f"  {python} -m pip install {' '.join(absent)}\n"
    )
    return MISSING
