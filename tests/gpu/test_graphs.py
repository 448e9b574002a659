"""Attention inside graphs that torch compiles and the device replays; on a CPU nothing is replayed."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters
from wanattn.attention import Dispatcher, Forward, Policy, Recorder
from wanattn.attention.choose.measure.timings import Timings
from wanattn.attention.run.operator import attend, serving
from wanattn.tests import fixtures

GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def block(q, k, v):
    return attend(q * 1.5, k, v, None, None, 0, False).transpose(1, 2).flatten(2).relu()


def random(device):
    generator = torch.Generator(device).manual_seed(0)
    tokens = 2048 if device == "cuda" else 64
    shape = (1, tokens, 8, 128)  # B N H D
    tensors = (torch.randn(shape, device=device, generator=generator) for _ in range(3))
    return [tensor.bfloat16().transpose(1, 2) for tensor in tensors]


@pytest.mark.parametrize(
    ("device", "how", "backend"),
    [
        *(
            pytest.param("cuda", how, backend, marks=GPU)
            for how in ({"mode": "reduce-overhead"}, {"backend": "cudagraphs"})
            for backend in ("flash", "cudnn", "auto")
        ),
        ("cpu", {"backend": "aot_eager"}, "flash"),
        ("cpu", {"backend": "aot_eager"}, "auto"),
    ],
)
def test_a_replayed_graph_computes_what_the_backend_computes(device, how, backend):
    torch.compiler.reset()
    counters.clear()
    compiled = torch.compile(block, fullgraph=True, **how)
    timings = Timings(None, "test")
    dispatcher = Dispatcher(Policy(backend), timings_of=lambda device: timings)
    recorder, qkv = Recorder(), random(device)
    dispatcher.reset(devices=[qkv[0].device])
    other = [tensor * 0.5 for tensor in qkv]

    def serve(q, k, v, mask, scale, number, protected):
        capturing = q.is_cuda and torch.cuda.is_current_stream_capturing()
        forward = Forward() if capturing else Forward(recorders=[recorder])
        return fixtures.attend(dispatcher, (q, k, v, mask, scale), forward, number)

    with torch.inference_mode(), serving(serve):
        for _ in range(4):  # warm-up, capture, replays
            torch.compiler.cudagraph_mark_step_begin()
            found = compiled(*qkv).clone()
        replayed = compiled(*other).clone()

    torch.testing.assert_close(found, block(*qkv), rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(replayed, block(*other), rtol=2e-2, atol=2e-2)
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    calls = len(recorder.snapshot().calls)
    assert 1 <= calls < 5 if device == "cuda" else calls == 5  # replays ask for nothing
