"""Where a benchmark ran: what two results must share before their times can be compared."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib import metadata

from ...attention.backends import KERNELS
from ...attention.environment import probe
from ...version import __version__

Facts = dict[str, str | int | float | None]


def facts(device: str | None = None) -> Facts:
    """Of this machine, now. `device` such as cpu or cuda:1; None for the first GPU. Imports no kernel package."""
    environment = probe()
    known: Facts = {"started": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    known |= {"wanattn": __version__, "comfyui": None, **environment.facts(device or "cuda")}
    known["driver"] = environment.driver
    if device is not None:
        known["device"] = device
    return known | _packages()


def _packages() -> Facts:
    """The installed kernel packages, by the names that pip knows them by."""
    projects = {name for kernel in KERNELS.values() for name in kernel.package.projects}
    versions = {name: _version(name) for name in sorted(projects - {"torch"})}
    return {name: version for name, version in versions.items() if version}


def _version(project: str) -> str | None:
    try:
        return metadata.version(project)
    except metadata.PackageNotFoundError:
        return None
