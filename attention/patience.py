"""Files that Windows keeps from everybody else while somebody has them open."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
SECONDS = 2.0  # a reader has a file for milliseconds, a virus scanner for longer


def patiently(
    act: Callable[..., T], *arguments: object, windows: bool = sys.platform == "win32"
) -> T:
    """Open, replace or remove a file. On Windows a refusal is waited out: elsewhere it is final at once."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return act(*arguments)
        except PermissionError:
            if not windows or time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
