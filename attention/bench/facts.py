"""Where a benchmark ran: what two results must share before their times can be compared."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib import metadata

from ... import __version__
from ..backends.kernels import KERNELS
from ..environment import probe

Facts = dict[str, str | int | float | None]


def facts(device: str | None = None) -> Facts:
    """Of this machine, now. `device` such as cpu or cuda:1; None for the first GPU. Imports no kernel package."""
    environment = probe()
    known: Facts = {"started": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    known |= {"wanattn": __version__, "comfyui": None, **environment.facts()}
    known["driver"] = environment.driver
    if device is not None:
        gpu = environment.gpu(device) if device.startswith("cuda") else None
        capability = ".".join(map(str, gpu.capability)) if gpu and gpu.capability else None
        memory = round(gpu.memory / 2**30, 1) if gpu else None
        known |= {"gpu": gpu.name if gpu else None, "capability": capability, "memory_gib": memory}
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
