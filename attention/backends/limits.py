"""What a kernel takes, as plain data that can say no in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..call import Call
from ..environment import Environment

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one kernel. `newest` is the last compute capability it has code for, None if there is no end.

    `multiple` is what head_dim has to be one of, `multiple_float32` in float32 where that differs. `values` is whether
    the value's head_dim may be another one.
    """

    title: str
    dtypes: tuple[torch.dtype, ...] = HALF
    oldest: tuple[int, int] = (8, 0)
    newest: tuple[int, int] | None = None
    head_dims: tuple[int, ...] = ()
    max_head_dim: int = 256
    multiple: int = 8
    multiple_float32: int = 0
    max_batch: int = 0
    masks: bool = False
    grouped: bool = True
    values: bool = False
    rocm: bool = False

    def refusals(self, call: Call, environment: Environment) -> list[str]:
        if call.device_type != "cuda":
            return [f"{self.title} does not exist on {call.device_type}"]
        if environment.hip and not self.rocm:
            return [f"{self.title} does not exist on ROCm"]
        reasons = self._capability(environment.capability(call.device)) + self.dtype(call)
        return reasons + self._batch(call) + self._head_dim(call) + self._layout(call)

    def _capability(self, found: tuple[int, int] | None) -> list[str]:
        if found is None or (
            self.oldest <= found and (self.newest is None or found <= self.newest)
        ):
            return []
        needed = f"{_dotted(self.oldest)} or newer"
        if self.newest == self.oldest:
            needed = _dotted(self.oldest)
        elif self.newest:
            needed = f"{_dotted(self.oldest)} to {_dotted(self.newest)}"
        return [f"compute capability {_dotted(found)}, needs {needed}"]

    def dtype(self, call: Call) -> list[str]:
        if call.dtype in self.dtypes:
            return []
        names = " or ".join(str(dtype).removeprefix("torch.") for dtype in self.dtypes)
        return [f"dtype {call.dtype_name}, needs {names}"]

    def _head_dim(self, call: Call) -> list[str]:
        if self.head_dims:
            allowed = " or ".join(map(str, self.head_dims))
            fits = call.head_dim in self.head_dims
            return [] if fits else [f"head_dim {call.head_dim}, needs {allowed}"]
        if call.head_dim > self.max_head_dim:
            return [f"head_dim {call.head_dim}, needs at most {self.max_head_dim}"]
        in_float32 = self.multiple_float32 and call.dtype == torch.float32
        multiple = self.multiple_float32 if in_float32 else self.multiple
        for what, size in {"head_dim": call.head_dim, "value head_dim": call.value_dim}.items():
            if size % multiple:
                return [f"{what} {size}, needs a multiple of {multiple}"]
        return []

    def _batch(self, call: Call) -> list[str]:
        if not self.max_batch or call.batch <= self.max_batch:
            return []
        return [f"batch {call.batch}, needs at most {self.max_batch}"]

    def _layout(self, call: Call) -> list[str]:
        reasons = []
        if call.mask != "none" and not self.masks:
            reasons.append("masked call, kernel takes no mask")
        reasons += [] if self.values else same_value_dim(call)
        reasons += [] if self.grouped else same_heads(call)
        return reasons


def same_value_dim(call: Call) -> list[str]:
    if call.value_dim == call.head_dim:
        return []
    return [f"value head_dim {call.value_dim}, needs {call.head_dim} as the query has"]


def same_heads(call: Call) -> list[str]:
    if call.kv_heads == call.heads:
        return []
    return [f"{call.kv_heads} key heads, needs {call.heads} as the query has"]


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
