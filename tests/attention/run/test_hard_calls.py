"""Masks of every shape, numbers too large for half precision, and 8-bit tensors: what the kernels of a CPU do with them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa
from wanattn.attention.backends import BACKENDS, Refused
from wanattn.attention.choose.policy import NoBackend, Policy
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward
from wanattn.attention.run.intercept import Intercept
from wanattn.tests.fixtures import attend

TAKE_MASKS = {"efficient", "cudnn", "math", "int8"}
SHAPES = {
    "queries by keys": (24, 40),
    "of a batch": (2, 1, 24, 40),
    "of heads": (2, 3, 24, 40),
    "of keys": (2, 1, 1, 40),
    "one for all heads": (1, 3, 1, 40),
}


@pytest.fixture
def operands(tensors):
    return tensors(q_len=24, kv_len=40, batch=2, heads=3, head_dim=32)


@pytest.fixture
def forward():
    return Forward(step=0, wish="auto", text_len=512, recorders=[Recorder()])


def record_of(recorder: Recorder):
    ((_, record),) = recorder.snapshot().calls
    return record


@pytest.mark.parametrize("wish", ["auto", "flash", "math", "fa3", "sage", "efficient"])
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_of_any_shape_counts_whatever_is_asked_for(operands, shape, kind, wish):
    generator = torch.Generator().manual_seed(3)
    mask = torch.randn(SHAPES[shape], generator=generator)
    mask = mask > -0.5 if kind == "bool" else mask

    with Intercept(Policy(wish)) as host, torch.inference_mode():
        found = sdpa(*operands, mask)

    torch.testing.assert_close(found, sdpa(*operands, mask))
    assert (found - sdpa(*operands)).abs().max() > 0.05  # it makes a difference
    record = record_of(host.recorder)
    assert record.call.mask == kind
    assert record.active == (wish if wish == "math" else "flash")
    assert bool(record.reason) is (wish in ("fa3", "sage", "efficient"))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_kernel_takes_a_mask_or_says_that_it_takes_none(make_call, make_environment, name, kind):
    told = BACKENDS[name].refusals(make_call(mask=kind), make_environment())

    assert ("masked call, kernel takes no mask" in told) is (name not in TAKE_MASKS)


@pytest.mark.parametrize("name", ["flash", "math"])
def test_scores_beyond_half_precision_are_no_matter(tensors, name):
    """A product of 128 numbers of 300 is 170 times what float16 holds: kernels add up in 32 bits."""
    q, k, v = (x.half() for x in tensors(q_len=48, head_dim=128))
    q, k = q * 300, k * 300

    found = BACKENDS[name].run(q, k, v)

    right = sdpa(q.double(), k.double(), v.double())
    assert 100 * torch.finfo(torch.float16).max < (300**2 * 128)
    torch.testing.assert_close(found.double(), right, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_kernel_that_adds_up_in_half_precision_is_left_and_the_next_is_right(
    tensors, forward, monkeypatch, dtype
):
    """In float16 its scores overflow; in bfloat16 they do not, and it stays."""

    def naive(q, k, v, mask=None, scale=None):
        return ((q @ k.mT).to(q.dtype) * q.shape[-1] ** -0.5).softmax(-1) @ v

    real = BACKENDS["fa3"]
    kernel = dataclasses.replace(real, refusals=lambda call, environment: [], run=naive)
    monkeypatch.setitem(BACKENDS, "fa3", kernel)
    q, k, v = (x.to(dtype) for x in tensors(q_len=48, head_dim=128))
    operands, dispatcher = (q * 300, k * 300, v), Dispatcher(Policy("fa3"), blocks=4)
    for block in range(2):
        attend(dispatcher, operands, forward, block)
        dispatcher.end_forward()

    last = [record.active for _, record in forward.recorders[0].snapshot().calls]
    overflows = dtype == torch.float16
    assert last == (["fa3", "flash"] if overflows else ["fa3", "fa3"])
    assert dispatcher.warnings == (
        ["fa3: output not finite in step 0, block 0; self calls left it"] if overflows else []
    )


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "math"])
def test_8_bit_tensors_are_refused_by_their_dtype(make_call, make_environment, name):
    told = BACKENDS[name].refusals(make_call(dtype=torch.float8_e4m3fn), make_environment())

    assert any(reason.startswith("dtype float8_e4m3fn, needs ") for reason in told)


@pytest.mark.parametrize("wish", ["auto", "flash", "math", "fa3_fp8"])
def test_a_model_that_hands_over_8_bit_tensors_gets_a_sentence(operands, forward, wish):
    """Layers of fp8-scaled and GGUF checkpoints give what they compute in, so this is a fault of the model."""
    eight = [x.to(torch.float8_e4m3fn) for x in operands]

    with pytest.raises((NoBackend, Refused)) as found:
        attend(Dispatcher(Policy(wish)), eight, forward)

    assert "float8_e4m3fn" in str(found.value) or "Float8_e4m3fn" in str(found.value)
