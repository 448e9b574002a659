"""A clone's own view of a model that it shares with others.

WanVideoWrapper's samplers call the model that a clone holds, past the host's wrappers and patches. A view is an object of
a class derived from the model's, over the very same attributes: whoever calls it comes by here, and whoever has the
model itself does not. Nothing is written into the model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

Call = Callable[[torch.nn.Module, tuple, dict], object]
REAL, OPEN, CALL = "_wanattn_real", "_wanattn_open", "_wanattn_call"


def seen_through(model: torch.nn.Module, opened: Callable[[object], Call]) -> torch.nn.Module:
    """`model` as it is, but for its `diffusion_model`: whoever asks for it gets a view, called by what `opened` gives."""
    real = real_of(model)
    return _over(real, _holder(type(real)), {OPEN: opened})


def real_of(module: torch.nn.Module) -> torch.nn.Module:
    """The module itself, whether it is seen through a view or not."""
    return getattr(type(module), REAL).__get__(module) if hasattr(type(module), REAL) else module


def inside(model: torch.nn.Module) -> torch.nn.Module:
    """The wrapper's transformer, with no view over it."""
    return real_of(model).get_submodule("diffusion_model")


def _over(real: torch.nn.Module, kind: type, slots: dict[str, object]) -> torch.nn.Module:
    view = object.__new__(kind)
    object.__setattr__(view, "__dict__", real.__dict__)
    for name, value in {REAL: real, **slots}.items():
        object.__setattr__(view, name, value)
    return view


@functools.cache
def _holder(kind: type) -> type:
    def diffusion_model(self):
        real = inside(self)
        view = _over(real, _called(type(real)), {})
        object.__setattr__(view, CALL, getattr(self, OPEN)(view))
        return view

    parts = {"__slots__": (REAL, OPEN), "diffusion_model": property(diffusion_model)}
    return _named(kind, parts)


@functools.cache
def _called(kind: type) -> type:
    def call(self, *args, **kwargs):
        return getattr(self, CALL)(getattr(self, REAL), args, kwargs)

    return _named(kind, {"__slots__": (REAL, CALL), "__call__": call})


def _named(kind: type, parts: dict[str, object]) -> type:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), {**parts, **names, "__doc__": kind.__doc__})
