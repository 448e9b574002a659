"""One attention call: its tensors, its facts, and the layouts between the host and the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

ROLES = (
    "self",
    "text",
    "image",
    "vace self",
    "vace text",
    "audio",
    "face",
    "speech",
    "music",
    "camera",
    "other",
)


@dataclass(frozen=True, slots=True)
class Call:
    """What a kernel needs to know to accept or refuse a call.

    `kv_heads` differs from `heads` with grouped-query attention; `mask` is `none`, `bool` or `float`. `protected` is
    a call that the model wants computed in full precision.
    """

    role: str
    batch: int
    heads: int
    q_len: int
    kv_len: int
    head_dim: int
    dtype: torch.dtype
    device: str = "cpu"
    mask: str = "none"
    kv_heads: int = 0
    value_dim: int = 0
    protected: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        object.__setattr__(self, "value_dim", self.value_dim or self.head_dim)

    @classmethod
    def of(
        cls,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        mask: torch.Tensor | None,
        role: str,
        protected: bool = False,
    ) -> Call:
        """Read the facts off tensors of [batch, heads, tokens, head_dim]."""
        batch, heads, q_len, head_dim = q.shape
        return cls(
            role,
            batch,
            heads,
            q_len,
            k.shape[2],
            head_dim,
            q.dtype,
            str(q.device),
            mask_kind(mask),
            k.shape[1],
            v.shape[3],
            protected,
        )

    @property
    def device_type(self) -> str:
        return self.device.partition(":")[0]

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def flops(self) -> int:
        """Floating-point operations of both matrix products."""
        pairs = self.batch * self.heads * self.q_len * self.kv_len
        return 2 * pairs * (self.head_dim + self.value_dim)

    @property
    def score_bytes(self) -> int:
        """Bytes of one score matrix, which only kernels that are not fused write down."""
        return self.batch * self.heads * self.q_len * self.kv_len * self.dtype.itemsize

    def describe(self) -> str:
        """One line: role, query shape as batch x heads x tokens x head_dim, keys, dtype, device."""
        shape = f"{self.batch}x{self.heads}x{self.q_len}x{self.head_dim}"
        mask = "" if self.mask == "none" else f", {self.mask} mask"
        return f"{self.role} query {shape}, {self.kv_len} keys, {self.dtype_name} on {self.device}{mask}"


def mask_kind(mask: torch.Tensor | None) -> str:
    if mask is None:
        return "none"
    return "bool" if mask.dtype == torch.bool else "float"


class Inputs(NamedTuple):
    """The tensors of a call: [batch, heads, tokens, head_dim], an optional mask, an optional scale."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    mask: torch.Tensor | None = None
    scale: float | None = None


def split_heads(x: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Heads that are apart already, as some models hand over keys, stay so."""
    if x.ndim == 3:
        batch, tokens, width = x.shape
        x = x.reshape(batch, tokens, width // head_dim, head_dim)  # B N (H D) -> B N H D
    return x.transpose(1, 2)  # B N H D -> B H N D


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    batch, heads, tokens, head_dim = x.shape
    return x.transpose(1, 2).reshape(batch, tokens, heads * head_dim)  # B H N D -> B N (H D)
