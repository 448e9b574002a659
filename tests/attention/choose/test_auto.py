"""Measured auto: from the call to the choice, the notes and the guard."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import BACKENDS
from wanattn.attention.choose import policy
from wanattn.attention.choose.measure import tuner
from wanattn.attention.choose.measure.timings import Timing, Timings
from wanattn.attention.choose.measure.tuner import Measurement
from wanattn.attention.choose.policy import Policy, choose
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward
from wanattn.tests.fixtures import attend as one_call


@pytest.fixture
def timings(tmp_path):
    kept = Timings(tmp_path / "timings.json", "card")
    return lambda device: kept


@pytest.fixture
def attend(tensors):
    def run(dispatcher, recorder, step=0, block=0, **facts):
        recorder.runs or recorder.begin("job")
        forward = Forward(
            step=step, wish=dispatcher.policy.backend, proof="off", recorders=[recorder]
        )
        return one_call(dispatcher, tensors(**facts), forward, block)

    return run


def test_auto_measures_once_and_says_what_it_found(attend, timings):
    dispatcher, recorder = Dispatcher(Policy("auto"), timings_of=timings), Recorder()

    for block in range(3):
        attend(dispatcher, recorder, block=block, q_len=200)

    (note,) = dispatcher.notes
    assert note.startswith("self 200: ") and "x slower)" in note
    fastest = note.split()[2]
    assert [record.active for _, record in recorder.snapshot().calls] == [fastest] * 3


def test_auto_goes_by_the_file(attend, timings, make_call):
    call = make_call(heads=2, q_len=80, kv_len=80, kv_heads=2, dtype=torch.float32, device="cpu")
    timings("cpu").write(call, {"flash": Timing(9.0, 9.0), "math": Timing(1.0, 1.0)})
    dispatcher, recorder = Dispatcher(Policy("auto"), timings_of=timings), Recorder()

    attend(dispatcher, recorder, q_len=80)

    assert dispatcher.notes == ["self 80: math 1 ms, flash 9 ms (9.00x slower)"]
    assert recorder.snapshot().calls[0][1].active == "math"


def test_named_backend_is_not_measured(attend, timings):
    dispatcher = Dispatcher(Policy("math"), timings_of=timings)

    attend(dispatcher, Recorder())

    assert dispatcher.notes == []


def measured(**milliseconds):
    return {name: Measurement(name, value, value, 2e-3) for name, value in milliseconds.items()}


def test_fastest_measured_backend_is_chosen(make_call, make_environment):
    choice = choose(
        make_call(), make_environment(), Policy("auto"), None, measured(flash=3.0, efficient=2.0)
    )

    assert (choice.backend.name, choice.rejected) == ("efficient", ())


def test_measured_refusal_becomes_a_reason(make_call, make_environment):
    found = {
        "cudnn": Measurement("cudnn", None, 1.0, 0.5, "error 5.0e-01, needs at most 1e-03"),
        **measured(flash=3.0),
    }

    choice = choose(make_call(), make_environment(), Policy("auto"), None, found)

    assert choice.backend.name == "flash"


@pytest.mark.parametrize(
    ("precision", "error", "chosen"),
    [
        ("exact", 0.01, "flash"),
        ("allow approximate", 0.01, "int8"),
        ("allow approximate", 0.05, "flash"),
    ],
)
def test_approximate_backend_needs_leave_and_a_small_error(
    monkeypatch, make_call, make_environment, precision, error, chosen
):
    rough = dataclasses.replace(BACKENDS["int8"], refusals=lambda call, environment: [])
    monkeypatch.setitem(policy.BACKENDS, "int8", rough)
    monkeypatch.setattr(
        policy, "installed", lambda call, names, backends: tuple(n for n in names if n == "int8")
    )
    found = {**measured(flash=3.0, cudnn=4.0), "int8": Measurement("int8", 1.0, 1.0, error)}

    choice = choose(
        make_call(), make_environment(), Policy("auto", precision=precision), None, found
    )

    assert choice.backend.name == chosen


@pytest.mark.parametrize("value", [0, -1, 1, 5])
def test_max_error_out_of_range_is_named(value):
    with pytest.raises(ValueError, match=f"max_error {value}, needs more than 0"):
        Policy(max_error=value)


def test_a_backend_that_was_not_timed_is_still_there_to_fall_back_on(
    make_call, make_environment, no_package
):
    """What there was no time for is no worse than what broke."""
    found = {"efficient": Measurement("efficient"), **measured(flash=3.0)}
    failed = {"flash": ("RuntimeError: no",), "cudnn": ("RuntimeError: no",)}

    choice = choose(make_call(), make_environment(), Policy("auto"), failed, found)

    assert choice.backend.name == "efficient"


def test_measuring_that_fails_costs_no_run(attend, timings, monkeypatch):
    def fails(inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tuner, "Reference", fails)
    dispatcher, recorder = Dispatcher(Policy("auto"), timings_of=timings), Recorder()

    assert attend(dispatcher, recorder).isfinite().all()
    assert dispatcher.notes == ["self calls not measured (OutOfMemoryError: CUDA out of memory)"]
    assert recorder.snapshot().calls[0][1].active == "flash"


def test_a_damaged_file_of_timings_is_told_on_the_node(attend, timings):
    path = timings("cpu").path
    path.write_text("{")
    dispatcher, recorder = Dispatcher(Policy("auto"), timings_of=timings), Recorder()

    attend(dispatcher, recorder)
    attend(dispatcher, recorder, q_len=200)

    assert dispatcher.notes[1].startswith("timings.json: not JSON")
    assert len(dispatcher.notes) == 3


def test_backend_with_an_output_that_is_not_finite_is_left_for_the_rest_of_the_run(
    monkeypatch, attend, caplog
):
    def spoiled(q, k, v, mask=None, scale=None):
        return F.scaled_dot_product_attention(q, k, v) * torch.nan

    rough = dataclasses.replace(
        BACKENDS["int8"], refusals=lambda call, environment: [], run=spoiled
    )
    monkeypatch.setitem(policy.BACKENDS, "int8", rough)
    dispatcher, recorder = Dispatcher(Policy("int8")), Recorder()

    attend(dispatcher, recorder, step=2, block=7)
    with caplog.at_level(logging.WARNING, "wanattn"):
        dispatcher.end_forward()
    out = attend(dispatcher, recorder, step=3, block=0)

    assert out.isfinite().all()
    first, second = (record for _, record in recorder.snapshot().calls)
    assert (first.active, second.active) == ("int8", "flash")
    assert second.reason == "output not finite in step 2, block 7"
    assert dispatcher.notes == ["int8: output not finite in step 2, block 7; self calls left it"]
    assert caplog.messages == dispatcher.notes
    dispatcher.reset()
    attend(dispatcher, recorder)
    assert recorder.snapshot().calls[-1][1].active == "int8"


def test_nothing_is_measured_or_watched_while_a_cuda_graph_is_recorded(
    monkeypatch, attend, timings
):
    """What is launched then runs again with every replay, on memory that others may have by then."""
    for room in ("run.dispatch", "choose.plan"):
        monkeypatch.setattr(f"wanattn.attention.{room}.capturing", lambda tensor: True)
    rough = dataclasses.replace(
        BACKENDS["int8"], refusals=lambda *given: [], run=BACKENDS["flash"].run
    )
    monkeypatch.setitem(policy.BACKENDS, "int8", rough)
    measuring, watching = Dispatcher(Policy("auto"), timings_of=timings), Dispatcher(Policy("int8"))
    monkeypatch.setattr(watching._guard, "watch", lambda *given: pytest.fail("watched"))

    for dispatcher in (measuring, watching):
        attend(dispatcher, Recorder())

    assert measuring.notes == [] and measuring.tuning == 0
