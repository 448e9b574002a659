"""Attention packages that a user may have: imported on first use, with the reason kept where that fails."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from ..environment import Environment

Function = Callable[..., object]
WHEELS = "https://download.pytorch.org/whl/"  # of what is built for one CUDA, in a folder for each


@dataclass(frozen=True, slots=True)
class Package:
    """`load` imports the package and returns the function to call; `projects` are the names that pip knows it by.

    `install` gives the line that installs it on this machine, or a sentence saying why none does.
    """

    title: str
    projects: tuple[str, ...]
    load: Callable[[], Function]
    install: Callable[[Environment], str]

    @property
    def version(self) -> str | None:
        """The installed version by its metadata, without importing anything."""
        for project in self.projects:
            try:
                return metadata.version(project)
            except metadata.PackageNotFoundError:
                continue
        return None


@dataclass(frozen=True, slots=True)
class Found:
    """`function` is None exactly where `reason` says why; `version` is empty where pip knows none."""

    function: Function | None
    reason: str = ""
    version: str = ""


@functools.cache
def find(package: Package) -> Found:
    """Import once; the answer holds for the life of the process."""
    version = package.version or ""
    try:
        return Found(package.load(), version=version)
    except Exception as error:  # a compiled package can break in any way while it loads
        words = str(error).strip().partition("\n")[0] or type(error).__name__
        state = "does not load" if version else "not installed"
        return Found(None, f"{package.title} {state} ({words})", version)


def function(package: Package) -> Function:
    """The package's function; RuntimeError with the reason where it is absent."""
    found = find(package)
    if found.function is None:
        raise RuntimeError(found.reason)
    return found.function


def pip(*requirements: str) -> str:
    """The command line that installs into the Python that is running."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return " ".join([python, "-m", "pip", "install", *requirements])
