"""Kernels called by name give on the card what SDPA gives with that kernel switched on, or are refused before."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import BACKENDS, process
from wanattn.attention.call import Call, Inputs
from wanattn.attention.environment import probe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
KERNELS = ("flash", "efficient", "cudnn", "math")
SHAPES = {
    "self": (1, 8, 8, 1024, 1024, 128),
    "text": (2, 8, 8, 1000, 512, 128),
    "77 keys": (1, 4, 4, 256, 77, 64),
    "grouped": (1, 8, 2, 512, 512, 128),
    "odd head": (1, 4, 4, 256, 256, 100),
    "wide head": (1, 4, 4, 256, 256, 256),
}
MASKS = {
    "none": lambda q, k: None,
    "booleans": lambda q, k: torch.rand(q.shape[2], k.shape[2], device="cuda") > 0.3,
    "keys": lambda q, k: torch.rand(q.shape[0], 1, 1, k.shape[2], device="cuda") > 0.3,
    "added": lambda q, k: torch.randn(1, 1, q.shape[2], k.shape[2], device="cuda", dtype=q.dtype),
}
CASES = list(itertools.product(KERNELS, SHAPES, MASKS, ("heads first", "tokens first")))


def tensors(shape: str, layout: str, dtype) -> tuple[torch.Tensor, ...]:
    batch, heads, kv_heads, q_len, kv_len, head_dim = SHAPES[shape]
    torch.manual_seed(0)

    def made(heads, tokens):
        if layout == "heads first":
            return torch.randn(batch, heads, tokens, head_dim, device="cuda").to(dtype)
        x = torch.randn(batch, tokens, heads, head_dim, device="cuda").to(dtype)
        return x.transpose(1, 2)  # B N H D -> B H N D

    return made(heads, q_len), made(kv_heads, kv_len), made(kv_heads, kv_len)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(("kernel", "shape", "mask", "layout"), CASES)
def test_the_operator_gives_what_the_switch_gives(kernel, shape, mask, layout, dtype):
    q, k, v = tensors(shape, layout, dtype)
    inputs = Inputs(q, k, v, MASKS[mask](q, k))
    backend = BACKENDS[kernel]
    reasons = backend.refusals(Call.of(q, k, v, inputs.mask, "self"), probe())
    reasons = reasons or (backend.gate(inputs) if backend.gate else [])
    if reasons:
        return

    with torch.inference_mode():
        found = backend.run(*inputs)

        right = process.switched(kernel, *inputs)
    assert torch.equal(found, right)
    assert found.stride() == right.stride()


def test_nothing_that_a_wan_model_needs_is_refused():
    """Self and text attention in bfloat16, without a mask."""
    for kernel, shape in itertools.product(KERNELS, ("self", "text")):
        q, k, v = tensors(shape, "tokens first", torch.bfloat16)
        backend = BACKENDS[kernel]
        reasons = backend.refusals(Call.of(q, k, v, None, shape), probe())
        assert reasons == [] and (not backend.gate or backend.gate(Inputs(q, k, v)) == [])


def test_calls_of_another_thread_keep_running_beside_forced_ones():
    """Only math can run the foreign calls; a switch turned for ours would end them."""
    q, k, v = tensors("self", "tokens first", torch.bfloat16)
    foreign = [torch.randn(1, 2, 64, 500, device="cuda") for _ in range(3)]
    failed: list[Exception] = []
    over = threading.Event()

    def others() -> None:
        while not over.is_set():
            try:
                F.scaled_dot_product_attention(*foreign)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=others)
    thread.start()
    for _ in range(2000):
        BACKENDS["flash"].run(q, k, v)
    over.set()
    thread.join()

    assert failed == []
