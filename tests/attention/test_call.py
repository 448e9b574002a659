from __future__ import annotations

import pytest
import torch
from wanattn.attention.call import Call, merge_heads, split_heads


def test_facts_are_read_off_the_tensors(tensors):
    q, k, v = tensors(q_len=64, kv_len=512, batch=2)

    call = Call.of(q, k, v, None, "text")

    assert call == Call("text", 2, 2, 64, 512, 128, torch.float32, "cpu")


@pytest.mark.parametrize(
    ("mask", "kind"),
    [(None, "none"), (torch.ones(4, 4, dtype=torch.bool), "bool"), (torch.zeros(4, 4), "float")],
    ids=["none", "bool", "float"],
)
def test_mask_kind_is_a_fact(tensors, mask, kind):
    q, k, v = tensors(q_len=4)

    assert Call.of(q, k, v, mask, "self").mask == kind


def test_work_is_two_products_of_every_query_with_every_key(make_call):
    call = make_call(heads=40, q_len=82992, kv_len=82992)

    assert call.flops == 4 * 40 * 82992**2 * 128
    assert call.score_bytes / 2**30 == pytest.approx(513.2, abs=0.1)


def test_description_names_what_a_user_needs(make_call):
    assert (
        make_call(mask="float").describe()
        == "self query 1x40x32760x128, 32760 keys, bfloat16 on cuda:0, float mask"
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_heads_that_were_split_are_merged_to_what_they_were(batch):
    x = torch.randn(batch, 5, 3 * 8)  # B N (H D)

    heads = split_heads(x, 8)

    assert heads.shape == (batch, 3, 5, 8)
    assert torch.equal(heads[:, 1], x[..., 8:16])
    assert torch.equal(merge_heads(heads), x)
    assert torch.equal(split_heads(x.reshape(batch, 5, 3, 8), 8), heads)
