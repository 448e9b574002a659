"""Raylight's sequence parallelism: where its attention gets a kernel, between the exchanges with the other ranks.

There a rank holds all tokens and its share of the heads; with ring attention a part of the tokens at a time.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import torch.distributed

from ...attention.backends.lse import Sums
from ...attention.call import Inputs
from ...attention.run.follow import current
from ...attention.run.forward import Forward, Place
from ...attention.run.given import Split

MODELS = "raylight.diffusion_models."
ATTENTION = "xfuser_optimized_attention"
SELECT = "select_flash_attn_impl"
VIA = "taken inside Raylight's sequence parallelism"


class Sequence:
    """Meanwhile the attention layers of Raylight's models ask the forward that they are in. `sums` is for ring attention."""

    def __init__(self, sums: Sums | None = None) -> None:
        self._sums = sums
        self._modules: int | None = None
        self._layers: list = []
        self._backs: dict[int, Callable] = {}  # one each, for calls of one kind to be known again

    @contextmanager
    def taken(self) -> Iterator[None]:
        before: list[tuple[object, str, object]] = []
        try:
            for layer in self._found():
                place, name = _seam(layer, self._sums is not None)
                before.append((place, name, getattr(place, name)))
                setattr(place, name, self._stand_in(layer, getattr(place, name)))
            yield
        finally:
            for place, name, value in before:
                setattr(place, name, value)

    def _found(self) -> list:
        """Raylight imports a model's code when the model is loaded."""
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._layers = layers()
            if self._sums is not None:
                self._layers = self._layers[:1]  # all of them come to one place
        return self._layers

    def _stand_in(self, layer, original: Callable) -> Callable:
        back = self._backs.setdefault(id(layer), _way_back(layer, self._sums))
        if self._sums is not None:
            return functools.partial(_select, original, layer, back, self._sums)
        return functools.partial(_attend, original, layer, back)


def layers() -> list:
    """The attention layers that the functions of Raylight's models hold, each once."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith(MODELS):
            function = getattr(module, ATTENTION, None)
            for cell in getattr(function, "__closure__", None) or ():
                layer = cell.cell_contents
                if hasattr(layer, "ring_attn_fn"):
                    found[id(layer)] = layer
    return list(found.values())


def _seam(layer, ring: bool) -> tuple[object, str]:
    if not ring:
        return layer, "ring_attn_fn"
    module: ModuleType = sys.modules[layer.ring_attn_fn.__module__]
    if not hasattr(module, SELECT):
        raise RuntimeError(
            f"this xfuser's ring attention has no {SELECT}, needs one for another kernel to run there"
        )
    return module, SELECT


def _way_back(layer, sums: Sums | None) -> Callable:
    """What runs a call that is left to Raylight, under the name that Raylight has for it."""

    def left(kernel: Callable, tensors: tuple, named: dict) -> torch.Tensor:
        out = kernel(*tensors, **named)
        if sums is not None:
            sums.newest = out[1]
        return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)  # B H N D

    left.__module__, left.__qualname__ = "raylight", layer.attn_type.name
    return left


def _attend(original: Callable, layer, back: Callable, q, k, v, *args, **named):
    """Tensors are [batch, tokens, heads, head_dim], here and in Raylight."""
    forward = _watched()
    special = args or named.get("joint_tensor_key") is not None or named.get("causal")
    if forward is None or special:
        return original(q, k, v, *args, **named)
    leave = functools.partial(back, original, (q, k, v), named)
    return _taken(forward, layer, (q, k, v), named.get("softmax_scale"), leave)


def _taken(forward: Forward, layer, tensors, scale, leave: functools.partial) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in tensors)  # B N H D -> B H N D
    spread = _size(layer.ulysses_pg)  # the model's own lengths tell the role
    block = forward.site.block if forward.site else None
    role = forward.role(q.shape[2] // spread, k.shape[2] // spread, block)
    assert forward.taker
    given = Split(Inputs(q, k, v, None, scale), leave)
    return forward.taker.run(given, Place(role, block, via=VIA), forward).transpose(1, 2)


def _select(original: Callable, layer, back: Callable, sums: Sums, *args, **named) -> Callable:
    """In the place of the function by which ring attention gets its kernel."""
    kernel = original(*args, **named)

    def run(q, k, v, *rest, softmax_scale=None, causal=False, **others):
        forward = _watched()
        named = {"softmax_scale": softmax_scale, "causal": causal, **others}
        if forward is None or rest or causal:
            return kernel(q, k, v, *rest, **named)
        leave = functools.partial(back, kernel, (q, k, v), named)
        out = _taken(forward, layer, (q, k, v), softmax_scale, leave)
        return out, sums.newest

    return run


def _watched() -> Forward | None:
    forward = current()
    return forward if forward and forward.taker else None


def _size(group) -> int:
    return torch.distributed.get_world_size(group) if group is not None else 1
