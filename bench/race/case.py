"""The places that attention is measured in: one call of a model at one size, or one kept from a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ...attention.backends import Backend
from ...attention.call import Call, Inputs
from ...attention.wan import TEXT_TOKENS, Variant, Video
from ..results.row import Row

PARTS = ("self", "text")  # Wan 2.2 has no attention to image tokens


@dataclass(frozen=True, slots=True)
class Case:
    """One call to be measured, on random tensors or on real ones, `tensors`, wherever those are kept."""

    model: str
    size: str
    frames: int
    part: str
    call: Call
    tensors: Inputs | None = None

    @property
    def title(self) -> str:
        """Short enough for a progress bar."""
        if self.frames:
            return f"{self.frames} frames {self.part}"
        return f"{self.part} {self.call.q_len:,}"

    @property
    def bytes(self) -> int:
        """Of q, k, v and the output."""
        query = self.call.heads * self.call.q_len * (self.call.head_dim + self.call.value_dim)
        keys = self.call.kv_heads * self.call.kv_len * (self.call.head_dim + self.call.value_dim)
        return self.call.batch * (query + keys) * self.call.dtype.itemsize

    def inputs(self, seed: int) -> Inputs:
        """On the call's device, laid out as the host hands them over."""
        if self.tensors is None:
            return _random(self.call, seed)
        kept = self.tensors
        q, k, v = (x.to(self.call.device) for x in (kept.q, kept.k, kept.v))
        mask = None if kept.mask is None else kept.mask.to(self.call.device)
        return kept._replace(q=q, k=k, v=v, mask=mask)

    def row(self, backend: Backend, settings: str = "") -> Row:
        return Row(
            "kernels",
            backend.name,
            self.part,
            self.model,
            self.size,
            self.frames,
            self.call.dtype_name,
            settings,
            self.call.heads,
            self.call.q_len,
            self.call.kv_len,
            flops=self.call.flops,
        )


def cases_of(
    variant: Variant,
    clips: Sequence[Video],
    dtype: torch.dtype,
    device: str,
    parts: Sequence[str] = PARTS,
) -> list[Case]:
    """Raises ValueError for a part that the model has not."""
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"role '{part}', needs {' or '.join(PARTS)}")
    return list(_cases(variant, clips, dtype, device, parts))


def _cases(variant: Variant, clips, dtype, device: str, parts) -> Iterator[Case]:
    for clip in clips:
        tokens = variant.tokens(clip)
        for part in parts:
            keys = tokens if part == "self" else TEXT_TOKENS
            call = Call(part, 1, variant.heads, tokens, keys, variant.head_dim, dtype, device)
            yield Case(variant.name, clip.size, clip.frames, part, call)


def _random(call: Call, seed: int) -> Inputs:
    """Views [batch, heads, tokens, head_dim] of [batch, tokens, heads, head_dim]."""
    generator = torch.Generator(call.device).manual_seed(seed)

    def made(tokens: int, heads: int, width: int) -> torch.Tensor:
        shape = (call.batch, tokens, heads, width)
        x = torch.randn(shape, dtype=call.dtype, device=call.device, generator=generator)
        return x.transpose(1, 2)  # B N H D -> B H N D

    q = made(call.q_len, call.heads, call.head_dim)
    k = made(call.kv_len, call.kv_heads, call.head_dim)
    return Inputs(q, k, made(call.kv_len, call.kv_heads, call.value_dim))
