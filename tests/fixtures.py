"""What tests of any room need: calls, machines, tensors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from wanattn.attention.call import Call
from wanattn.attention.environment import Environment, Gpu

H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), 80 * 2**30)
CUDA = Environment(
    torch="2.11.0", python="3.12.3", platform="Linux x86_64", cuda="13.0", cudnn=91900, gpus=(H100,)
)
SELF = Call("self", 1, 40, 32760, 32760, 128, torch.bfloat16, "cuda:0")


@pytest.fixture
def make_call():
    """A Wan 2.2 14B self-attention call on an H100, with other facts where given."""
    return lambda **facts: dataclasses.replace(SELF, **facts)


@pytest.fixture
def make_environment():
    """A machine with one H100, with other facts where given; `capability` is the card's."""

    def make(capability=(9, 0), **facts):
        gpus = (dataclasses.replace(H100, capability=capability),)
        return dataclasses.replace(CUDA, **{"gpus": gpus, **facts})

    return make


@pytest.fixture
def tensors():
    """Random q, k, v of [batch, heads, tokens, head_dim] for self- or cross-attention."""

    def make(q_len=64, kv_len=None, batch=1, heads=2, head_dim=128, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        lengths = (q_len, kv_len or q_len, kv_len or q_len)
        return [
            torch.randn(batch, heads, n, head_dim, generator=generator).to(dtype) for n in lengths
        ]

    return make


@pytest.fixture
def link():
    """Make a symbolic link, or skip the test where that cannot be done."""

    def make(path: Path, target: Path) -> Path:
        try:
            path.symlink_to(target)
        except OSError as error:
            pytest.skip(f"Windows lets only some users make links ({error})")
        if not path.is_symlink():
            pytest.skip("Wine makes no link and says nothing")
        return path

    return make
