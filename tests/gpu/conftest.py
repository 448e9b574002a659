"""What needs no GPU of these tests runs on the CPU too, so that a changed signature fails everywhere."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=GPU)])
def device(request):
    return request.param


@pytest.fixture
def qkv(device):
    """[batch, heads, tokens, head_dim], lying in memory as Wan's: tokens first."""
    tokens = 8192 if device == "cuda" else 64
    generator = torch.Generator(device).manual_seed(0)
    shape = (1, tokens, 8, 128)  # B N H D
    tensors = (torch.randn(shape, device=device, generator=generator) for _ in range(3))
    return [tensor.bfloat16().transpose(1, 2) for tensor in tensors]


@pytest.fixture
def never_waiting(device):
    """Within it, whatever makes the host wait for the device is an error."""

    @contextmanager
    def within():
        if device == "cpu":
            yield
            return
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return within
