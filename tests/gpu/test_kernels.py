from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention import (
    BACKENDS,
    Call,
    Dispatcher,
    Forward,
    NoBackend,
    Policy,
    Recorder,
    probe,
)
from wanattn.attention.record.evidence import watch
from wanattn.tests.fixtures import attend

FUSED = ("flash", "efficient", "cudnn")


def fused(device: str) -> tuple[str, ...]:
    return FUSED if device == "cuda" else ("flash",)


def in_float32(q, k, v):
    scores = q.float() @ k.float().mT / q.shape[-1] ** 0.5
    return scores.softmax(-1) @ v.float()


@pytest.mark.parametrize("name", [*FUSED, "math"])
def test_kernels_agree_with_float32_within_their_tolerance(qkv, name):
    call = Call.of(*qkv, None, "self")
    if reasons := BACKENDS[name].refusals(call, probe()):
        pytest.skip("; ".join(reasons))

    result = BACKENDS[name].run(*qkv)

    expected = in_float32(*qkv)
    error = (result.float() - expected).norm() / expected.norm()
    assert error <= BACKENDS[name].tolerance[torch.bfloat16]


def test_the_profiler_sees_the_forced_kernel_on_the_device(qkv, device):
    for name in fused(device):
        _, sighting = watch(lambda name=name: BACKENDS[name].run(*qkv), qkv[0].device)

        assert sighting.backends == (name,)
        assert sighting.milliseconds > 0
        assert bool(sighting.kernels) == (device == "cuda")


def test_a_recorded_call_never_makes_the_host_wait(qkv, never_waiting):
    recorder = Recorder()
    forward = Forward(step=0, wish="flash", recorders=[recorder])
    dispatcher = Dispatcher(Policy("flash"))
    attend(dispatcher, qkv, forward, 0)

    with never_waiting():
        for block in range(50):
            attend(dispatcher, qkv, forward, block)
            recorder.stopwatch.settle()

    run = recorder.runs[-1]
    recorder.end(run, "finished")
    times = [record.milliseconds for _, record in recorder.snapshot().calls]
    assert len(times) == 51 and all(time > 0 for time in times)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_math_that_does_not_fit_is_an_error_with_the_number():
    q = torch.empty(1, 40, 82992, 128, device="cuda", dtype=torch.bfloat16)

    with pytest.raises(NoBackend, match=r"need \d+\.\d GiB, \d+\.\d GiB free"):
        attend(Dispatcher(Policy("math", "stop")), (q, q, q), Forward())


def test_a_masked_call_falls_from_flash_to_a_kernel_that_takes_masks(qkv, device):
    recorder, tokens = Recorder(), qkv[0].shape[2]
    mask = torch.ones(tokens, tokens, device=device, dtype=torch.bool)

    result = attend(Dispatcher(Policy("flash")), (*qkv, mask), Forward(recorders=[recorder]))

    torch.testing.assert_close(result, F.scaled_dot_product_attention(*qkv), rtol=2e-2, atol=2e-2)
    ((_, record),) = recorder.snapshot().calls
    if device == "cpu":  # its kernel takes masks
        assert (record.active, record.reason) == ("flash", "")
        return
    assert record.active in ("cudnn", "efficient")
    assert record.reason.startswith("masked call, kernel takes no mask")


def test_threads_keep_their_kernels(qkv, device):
    names = (*fused(device), "math")
    recorders = {name: Recorder() for name in names}
    seen: dict[str, set[str]] = {}

    def work(name: str) -> None:
        forward = Forward(wish=name, recorders=[recorders[name]])
        dispatcher = Dispatcher(Policy(name, "stop"))
        for _ in range(200):
            attend(dispatcher, qkv, forward, 0)
        seen[name] = {record.active for _, record in recorders[name].snapshot().calls}

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == {name: {name} for name in names}
    assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.math_sdp_enabled()
