from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.choose.policy import Policy
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward
from wanattn.attention.run.intercept import Intercept, past_sdpa


def records(intercept):
    return [record for _, record in intercept.recorder.snapshot().calls]


def test_calls_run_on_the_chosen_backend_only_while_entered(tensors):
    q, k, v = tensors()
    expected = F.scaled_dot_product_attention(q, k, v)

    with Intercept(Policy("math")) as intercept:
        result = F.scaled_dot_product_attention(query=q, key=k, value=v)
    F.scaled_dot_product_attention(q, k, v)

    torch.testing.assert_close(result, expected)
    assert [record.active for record in records(intercept)] == ["math"]


def test_host_only_watches(tensors):
    q, k, v = tensors()

    with Intercept(Policy("host")) as intercept, torch.inference_mode():
        result = F.scaled_dot_product_attention(q, k, v)

    assert torch.equal(result, F.scaled_dot_product_attention(q, k, v))
    (record,) = records(intercept)
    assert (record.requested, record.active, record.evidence) == ("host", "flash", "profiled")


def test_causal_calls_are_left_to_torch_and_say_so(tensors):
    q, k, v = tensors()

    with Intercept(Policy("math")) as intercept, torch.inference_mode():
        result = F.scaled_dot_product_attention(q, k, v, is_causal=True)

    assert torch.equal(result, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    (record,) = records(intercept)
    assert (record.requested, record.active) == ("math", "flash")
    assert record.reason == "causal or dropout call, left to torch"


def test_a_call_without_heads_is_one_of_a_single_head(tensors):
    q, k, v = (x[:, 0] for x in tensors(batch=3))
    mask = torch.rand(3, 64, 64) > 0.3

    with Intercept(Policy("math")) as intercept:
        result = F.scaled_dot_product_attention(q, k, v, mask)

    torch.testing.assert_close(result, F.scaled_dot_product_attention(q, k, v, mask))
    (record,) = records(intercept)
    assert (record.active, record.call.heads, record.call.batch) == ("math", 1, 3)


def test_other_functions_are_not_touched():
    with Intercept(Policy("flash")) as intercept:
        assert F.softmax(torch.zeros(2), 0).tolist() == [0.5, 0.5]

    assert records(intercept) == []


def test_blocks_number_the_calls(tensors):
    q, k, v = tensors()
    block = type(
        "Block",
        (torch.nn.Module,),
        {"forward": lambda self: F.scaled_dot_product_attention(q, k, v)},
    )
    blocks = torch.nn.ModuleList([block(), block()])
    intercept = Intercept(Policy("flash"))

    with intercept.numbering(blocks), intercept:
        for one in blocks:
            one()

    assert [record.block for record in records(intercept)] == [0, 1]
    assert intercept.block is None


def test_a_call_s_role_goes_by_the_number_of_its_keys(tensors):
    with Intercept(Policy("math")) as intercept, torch.inference_mode():
        intercept.forward.text_len, intercept.forward.image_len = 24, 128
        for keys in (24, 128, 64, 48):  # head_dim is 128 too
            F.scaled_dot_product_attention(*tensors(q_len=64, kv_len=keys))

    assert [record.call.role for record in records(intercept)] == ["text", "image", "self", "other"]


@pytest.mark.parametrize("shape", [(64, 64), (2, 64, 64), (1, 1, 64, 64)])
def test_a_mask_is_of_the_last_dimensions(tensors, shape):
    q, k, v = tensors()
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.3

    with Intercept(Policy("math")) as intercept:
        result = F.scaled_dot_product_attention(q, k, v, mask)

    torch.testing.assert_close(result, F.scaled_dot_product_attention(q, k, v, mask))
    assert [record.active for record in records(intercept)] == ["math"]


def test_a_call_of_more_dimensions_is_left_to_torch(tensors):
    q, k, v = (x[None] for x in tensors())

    with Intercept(Policy("math")) as intercept:
        result = F.scaled_dot_product_attention(q, k, v)

    torch.testing.assert_close(result, F.scaled_dot_product_attention(q, k, v))
    assert records(intercept) == []


def test_a_call_past_the_hook_is_answered_where_somebody_answers(tensors):
    sdpa, taker, recorder = F.scaled_dot_product_attention, Dispatcher(Policy("math")), Recorder()
    operands = tuple(tensors())

    left = past_sdpa(Forward(recorders=[recorder]), sdpa, operands, {}, False)
    assert recorder.snapshot().counts.total() == 0
    taken = past_sdpa(Forward(recorders=[recorder], taker=taker), sdpa, operands, {}, False)

    torch.testing.assert_close(taken, left)
    ((_, record),) = recorder.snapshot().calls
    assert (record.active, record.via) == ("math", "made outside the modules that are known")


def test_grouped_heads_that_nobody_asked_for_are_an_error_as_they_are_without_us(tensors):
    (q, _, _), (_, k, v) = tensors(heads=4), tensors(heads=2)

    with Intercept(Policy("host")), pytest.raises(RuntimeError):
        F.scaled_dot_product_attention(q, k, v)
