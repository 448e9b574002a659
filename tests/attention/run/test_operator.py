"""Attention inside a compiled graph."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters
from wanattn.attention.backends import BACKENDS
from wanattn.attention.run.operator import attend, plain, serving


def block(q, k, v):
    return attend(q, k, v, None, None, 0, False).transpose(1, 2).flatten(2) + 1


@pytest.fixture
def compiled():
    torch.compiler.reset()
    counters.clear()
    return torch.compile(block, backend="eager", fullgraph=True)


def test_graph_holds_attention_as_one_operator(tensors, compiled):
    q, k, v = tensors(q_len=20)

    torch.testing.assert_close(compiled(q, k, v), block(q, k, v))
    torch.library.opcheck(attend, (q, k, v, None, 0.2, None, False), test_utils="test_faketensor")


def test_one_graph_asks_whoever_runs_it(tensors, compiled):
    q, k, v = tensors(q_len=20)
    expected, asked = compiled(q, k, v), []

    def serve(name):
        def run(q, k, v, mask, scale, block, protected):
            asked.append((name, block))
            return BACKENDS[name].run(q, k, v, mask, scale)

        return run

    for name in ("flash", "math"):
        with serving(serve(name)):
            torch.testing.assert_close(compiled(q, k, v), expected)

    assert asked == [("flash", 0), ("math", 0)]
    assert counters["stats"]["unique_graphs"] == 1


def test_strides_are_those_that_the_graph_was_promised(tensors):
    q, k, v = tensors(q_len=20)
    contiguous = plain(q, k, v, None, None, None, False).contiguous()

    with serving(lambda *call: contiguous):
        result = attend(q, k, v, None, None, None, False)

    assert result.transpose(1, 2).is_contiguous()
    assert torch.equal(result, contiguous)


def test_without_a_server_it_is_torchs_own_attention(tensors):
    q, k, v = tensors(q_len=20, heads=4)
    k, v = k[:, :2], v[:, :2]

    result = attend(q, k, v, None, 0.3, None, False)

    expected = BACKENDS["math"].run(q, k, v, None, 0.3)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_graph_breaks_nowhere_in_inference_mode(tensors, compiled):
    q, k, v = tensors(q_len=20)

    with torch.inference_mode():
        result = compiled(q, k, v)

    torch.testing.assert_close(result, block(q, k, v))
