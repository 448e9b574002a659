"""What the host's own function would have taken: timed beside the choice, once a kind of call, and never in its way."""

import functools
import time

import pytest
import torch
from wanattn.attention.backends import Backend
from wanattn.attention.call import Call, Inputs
from wanattn.attention.choose.policy import NoBackend, Policy
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.gain import gain_of
from wanattn.attention.run.beside import Beside
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward, Place
from wanattn.attention.run.given import Split


class Interrupted(Exception):
    pass


def host(run) -> Backend:
    return Backend("host", "slow", lambda call, environment: [], run, {})


def tensors(tokens=16) -> Inputs:
    generator = torch.Generator().manual_seed(1)
    return Inputs(*(torch.randn(1, 2, tokens, 64, generator=generator) for _ in range(3)))


def attend(dispatcher: Dispatcher, recorder: Recorder, inputs: Inputs, times=1) -> torch.Tensor:
    forward = Forward(recorders=[recorder])
    for _ in range(times):
        result = dispatcher.run(Split(inputs, functools.partial(int)), Place("self", 0), forward)
    return result


def watched(default, backend="math", on_refusal="next best"):
    dispatcher = Dispatcher(
        Policy(backend, on_refusal), default=host(default), passing=(Interrupted,)
    )
    recorder = Recorder()
    recorder.begin("job", 1)
    return dispatcher, recorder


def test_a_kind_of_call_is_timed_once_however_often_it_comes():
    seen = []

    def slow(q, k, v, mask=None, scale=None):
        seen.append(q.shape[2])
        time.sleep(0.2 if len(seen) == 1 else 0.02)
        return q

    dispatcher, recorder = watched(slow)
    for tokens in (16, 32, 16):
        attend(dispatcher, recorder, tensors(tokens), times=3)

    assert seen == [16] * 6 + [32] * 6  # the first of each is for what it loads
    assert dispatcher.beside.spent >= 240  # the first of each is taken for another one
    assert [20 <= found < 150 for found in dispatcher.beside.milliseconds.values()] == [True] * 2


def test_what_is_timed_beside_changes_neither_the_output_nor_the_account():
    alone = attend(Dispatcher(Policy("math")), Recorder(), tensors())
    dispatcher, recorder = watched(lambda q, k, v, mask=None, scale=None: torch.zeros_like(q))
    beside = attend(dispatcher, recorder, tensors())

    assert torch.equal(alone, beside)
    assert recorder.snapshot().counts.total() == 1


def test_a_function_that_breaks_leaves_the_run_alone_and_gives_no_figure():
    def broken(*args):
        raise torch.OutOfMemoryError("of the test")

    dispatcher, recorder = watched(broken)
    attend(dispatcher, recorder, tensors(), times=2)

    assert recorder.snapshot().counts.total() == 2
    assert dispatcher.beside.milliseconds == {}
    assert gain_of(recorder.snapshot(), dispatcher.beside.milliseconds) is None


def test_an_interrupt_comes_through():
    def interrupted(*args):
        raise Interrupted

    with pytest.raises(Interrupted):
        attend(*watched(interrupted), tensors())


def test_a_call_that_nothing_runs_is_not_timed():
    seen = []
    dispatcher, recorder = watched(lambda *args: seen.append(1), "cudnn", "stop")
    with pytest.raises(NoBackend):
        attend(dispatcher, recorder, tensors())
    attend(*watched(lambda *args: seen.append(1), "host"), tensors())

    assert seen == []


def test_a_long_call_on_a_cpu_is_not_timed():
    seen = []
    dispatcher, recorder = watched(lambda *args: seen.append(1))
    call = Call("self", 1, 40, 32760, 32760, 128, torch.float32)
    dispatcher.beside.time(call, tensors(), Forward(recorders=[recorder]))

    assert seen == []


def test_a_stranger_in_the_place_of_torchs_function_is_not_timed(monkeypatch):
    ran = []
    monkeypatch.setattr(
        "wanattn.attention.run.beside.replacements", lambda: ["flash is not torch's own here"]
    )
    beside = Beside(host(lambda *operands: ran.append(1)), ())
    inputs = tensors(2048)

    beside.time(Call.of(*inputs[:4], "self"), inputs, Forward())

    assert not ran and not beside.milliseconds
