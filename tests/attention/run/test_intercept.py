from __future__ import annotations

import torch
import torch.nn.functional as F
from wanattn.attention.choose.policy import Policy
from wanattn.attention.run.intercept import Intercept


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
