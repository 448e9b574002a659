"""Stand-ins for the packages that WanVideoWrapper's modes import, which need a GPU: exact attention, told to whoever counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch
from wanattn.tests.host.counting import Counting


class Told:
    """Whom the stand-ins tell of each call."""

    counting: Counting | None = None

    def add(self, name: str, q_len: int, kv_len: int) -> None:
        if self.counting is not None:
            self.counting.add(name, q_len, kv_len)


TOLD = Told()


def exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Of [..., heads, tokens, head_dim], with no operator of torch that is attention."""
    weights = (q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return weights @ v.float()


def sageattn(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, tensor_layout="HND"):
    q, k, v = (x if tensor_layout == "HND" else x.transpose(1, 2) for x in (q, k, v))
    TOLD.add("sageattn", q.shape[2], k.shape[2])
    out = exact(q, k, v).to(q.dtype)
    return out if tensor_layout == "HND" else out.transpose(1, 2)


def sageattn_varlen(q, k, v, starts, key_starts, q_len, kv_len, dropout_p=0.0, is_causal=False):
    """Of one sample: [tokens, heads, head_dim]."""
    TOLD.add("sageattn_varlen", q_len, kv_len)
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))  # H N D
    return exact(q, k, v).to(q.dtype).transpose(0, 1).contiguous()


def sageattn3_blackwell(q, k, v, per_block_mean=False):
    TOLD.add("sageattn_3", q.shape[2], k.shape[2])
    return exact(q, k, v).to(q.dtype)


def block_sparse_sage2_attn_cuda(q, k, v, mask_id=None, tensor_layout="NHD"):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    TOLD.add("radial_sage_attention", q.shape[2], k.shape[2])
    return exact(q, k, v).to(q.dtype).transpose(1, 2)


def flash_attn_varlen_func(q, k, v, max_seqlen_q, max_seqlen_k, **named):
    TOLD.add("flash_attn_2", max_seqlen_q, max_seqlen_k)
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))  # H N D
    return exact(q, k, v).transpose(0, 1).to(torch.bfloat16)


def module(name: str, *functions, **facts) -> ModuleType:
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)  # others ask whether it is there
    vars(made).update({each.__name__: each for each in functions}, **facts)
    return made


PACKAGES = {
    "flash_attn": module("flash_attn", flash_attn_varlen_func, __version__="2.8.3"),
    "sageattention": module("sageattention", sageattn, sageattn_varlen),
    "sageattn3": module("sageattn3", sageattn3_blackwell),
    "spas_sage_attn": module("spas_sage_attn", block_sparse_sage2_attn_cuda),
}


@contextmanager
def standing_in() -> Iterator[None]:
    """For those of which nothing is loaded; whatever else is imported meanwhile stays."""
    made = {name: each for name, each in PACKAGES.items() if name not in sys.modules}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]
