"""Attention as one operator that torch.compile does not look into, so that no kernel can break its graph.

A compiled graph outlives the settings that it was made under. So it holds none: whoever runs it serves its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F

Serve = Callable[..., torch.Tensor]
_serving: ContextVar[Serve | None] = ContextVar("wanattn_serving", default=None)


@contextmanager
def serving(serve: Serve) -> Iterator[None]:
    """Graphs that this thread runs meanwhile have their calls answered by `serve` of the operands of `attend`."""
    token = _serving.set(serve)
    try:
        yield
    finally:
        _serving.reset(token)


@torch.library.custom_op("wanattn::attend", mutates_args=())
def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float | None,
    block: int | None,
    protected: bool,
) -> torch.Tensor:
    """Tensors are [batch, heads, tokens, head_dim]. The result lies in memory as [batch, tokens, heads, head_dim]."""
    serve = _serving.get() or _own
    return _laid_out(serve(q, k, v, mask, scale, block, protected))


@attend.register_fake
def _(q, k, v, mask, scale, block, protected):
    batch, heads, tokens, _ = q.shape
    return q.new_empty(batch, tokens, heads, v.shape[3]).transpose(1, 2)


def plain(q, k, v, mask, scale, block, protected) -> torch.Tensor:
    """What torch itself would run."""
    grouped = {"enable_gqa": True} if k.shape[1] != q.shape[1] else {}
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, **grouped)


_own: Serve = plain


def set_own(serve: Serve) -> None:
    """What answers a graph that nobody serves: whoever made the graph may be gone. Torch's own attention until then."""
    global _own
    _own = serve


def _laid_out(out: torch.Tensor) -> torch.Tensor:
    """Kernels differ in the strides they return; a compiled graph was promised these."""
    return out.transpose(1, 2).contiguous().transpose(1, 2)  # B H N D
