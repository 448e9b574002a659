"""A backend that comes in a package of its own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from ..call import Call
from ..environment import Environment
from . import packages
from .backend import Backend
from .limits import Limits
from .packages import Package

EXACT = MappingProxyType({torch.float16: 5e-3, torch.bfloat16: 1e-2, torch.float32: 1e-4})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel(Backend):
    """`note` is what a user should know before choosing it; empty if nothing."""

    package: Package
    note: str = ""

    @property
    def absence(self) -> str:
        """Why the package cannot be used here, empty if it can. Imports it."""
        return packages.find(self.package).reason


def kernel(
    name: str,
    limits: Limits,
    package: Package,
    run: Callable[..., torch.Tensor],
    tolerance: Mapping[torch.dtype, float] | None = None,
    also: Callable[[Call, Environment], list[str]] | None = None,
    note: str = "",
) -> Kernel:
    """An exact kernel unless a tolerance of its own is given. `also` adds refusals of the loaded package."""
    return Kernel(
        name,
        limits.title,
        functools.partial(_refusals, limits, package, also),
        functools.partial(_run, package, run),
        tolerance or EXACT,
        exact=tolerance is None,
        package=package,
        note=note,
    )


def _refusals(
    limits: Limits, package: Package, also, call: Call, environment: Environment
) -> list[str]:
    """Where the card cannot run it at all, the package is not imported."""
    reasons = limits.refusals(call, environment)
    if call.device_type != "cuda" or (environment.hip and not limits.rocm):
        return reasons
    absence = packages.find(package).reason
    if absence:
        return [absence, *reasons]
    return reasons + (also(call, environment) if also else [])


def on_device_of(tensor: torch.Tensor) -> contextlib.AbstractContextManager:
    """Triton launches on the current device, and some packages change it: neither may reach the host."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _run(package: Package, run, q, k, v, mask=None, scale=None) -> torch.Tensor:
    return run(packages.function(package), q, k, v, mask, scale)
