"""Approximate kernels: whether `auto` takes them, and what happens when they go wrong."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from wanattn.attention import BACKENDS, Call, Dispatcher, Forward, Policy, Recorder, probe
from wanattn.attention.choose.measure.timings import Timings
from wanattn.attention.choose.policy import APPROXIMATE_KERNELS
from wanattn.tests.fixtures import attend


def approximate(qkv) -> list[str]:
    call = Call.of(*qkv, None, "self")
    return [n for n in APPROXIMATE_KERNELS if not BACKENDS[n].refusals(call, probe())]


def run_auto(qkv, timings: Timings, **wish):
    dispatcher = Dispatcher(Policy("auto", **wish), timings_of=lambda device: timings)
    recorder = Recorder()
    out = attend(dispatcher, qkv, Forward(step=0, recorders=[recorder]))
    ((_, record),) = recorder.snapshot().calls
    return out, record


def test_auto_takes_an_approximate_kernel_where_it_is_faster_and_its_error_small_enough(qkv):
    rough = approximate(qkv)
    if not rough:
        pytest.skip(f"none of {', '.join(APPROXIMATE_KERNELS)} can run here")
    timings = Timings(None, "test")
    expected = in_float32(*qkv)

    for limit in (0.2, 0.03, 0.001):
        out, record = run_auto(qkv, timings, precision="allow approximate", max_error=limit)

        known = timings.read(record.call)
        assert set(rough) & set(known), known
        allowed = [name for name in known if name not in rough or known[name].error <= limit]
        assert record.active == min(allowed, key=lambda name: known[name].milliseconds)
        error = (out.float() - expected).norm() / expected.norm()
        assert error <= max(limit, 1e-2)


def test_exact_never_takes_an_approximate_kernel(qkv):
    _, record = run_auto(qkv, Timings(None, "test"))

    assert BACKENDS[record.active].exact


def test_an_output_that_is_not_finite_is_noticed_without_waiting_for_the_device(
    qkv, never_waiting, monkeypatch
):
    flash = BACKENDS["flash"]
    if reasons := flash.refusals(Call.of(*qkv, None, "self"), probe()):
        pytest.skip("; ".join(reasons))
    calls = []

    def spoiled(q, k, v, mask=None, scale=None):
        calls.append(1)
        out = flash.run(q, k, v, mask, scale)
        return out * torch.nan if len(calls) == 3 else out

    rough = dataclasses.replace(flash, name="rough", exact=False, run=spoiled)
    monkeypatch.setitem(BACKENDS, "rough", rough)
    dispatcher, recorder = Dispatcher(Policy("rough")), Recorder()

    def forward(step):
        facts = Forward(step=step, recorders=[recorder])
        out = [attend(dispatcher, qkv, facts, block) for block in range(2)][-1]
        dispatcher.end_forward()
        return out

    forward(0)
    with never_waiting():
        forward(1)
    if qkv[0].is_cuda:
        torch.cuda.synchronize()
    dispatcher.end_forward()
    out = forward(2)

    assert out.isfinite().all()
    assert dispatcher.notes == ["rough: output not finite in step 1, block 0; self calls left it"]
    active = [record.active for _, record in recorder.snapshot().calls]
    assert active[:4] == ["rough"] * 4 and "rough" not in active[4:]


def in_float32(q, k, v):
    scores = q.float() @ k.float().mT / q.shape[-1] ** 0.5
    return scores.softmax(-1) @ v.float()
