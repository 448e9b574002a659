"""What is measured, what is taken from the file, and what is asked again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import Backend
from wanattn.attention.call import Call, Inputs
from wanattn.attention.choose.measure.measurements import Measurements
from wanattn.attention.choose.measure.timings import Timing, Timings


class Counted:
    """Exact attention, off by a factor, that counts its calls."""

    def __init__(self, factor: float = 1.0) -> None:
        self.calls = 0
        self.factor = factor

    def __call__(self, q, k, v, mask=None, scale=None):
        self.calls += 1
        return F.scaled_dot_product_attention(q, k, v) * self.factor


def backend(name: str, run, exact=True) -> Backend:
    tolerance = {torch.float32: 1e-3 if exact else 1e-1}
    return Backend(name, name, lambda call, environment: [], run, tolerance, exact)


@pytest.fixture
def case(tensors):
    inputs = Inputs(*tensors())
    return Call.of(inputs.q, inputs.k, inputs.v, None, "self"), inputs


@pytest.fixture
def timings(tmp_path):
    return lambda device: Timings(tmp_path / "timings.json", "card")


def test_first_call_measures_and_the_next_remembers(case, timings):
    call, inputs = case
    run = Counted()
    knowledge = Measurements(timings)

    first = knowledge.of(call, [backend("a", run)], inputs)
    calls = run.calls

    assert first["a"].usable and calls > 1
    assert knowledge.of(call, [backend("a", run)], inputs) == first
    assert run.calls == calls


def test_another_model_takes_speeds_from_the_file(case, timings):
    call, inputs = case
    first = Measurements(timings).of(call, [backend("a", Counted())], inputs)
    run = Counted()

    second = Measurements(timings).of(call, [backend("a", run)], inputs)

    assert second == first and run.calls == 0


def test_error_of_an_approximate_backend_is_measured_on_this_model_s_tensors(case, timings):
    call, inputs = case
    Measurements(timings).of(call, [backend("a", Counted(1.01), exact=False)], inputs)
    run = Counted(1.04)

    found = Measurements(timings).of(call, [backend("a", run, exact=False)], inputs)

    assert found["a"].error == pytest.approx(0.04, rel=1e-3)
    assert found["a"].usable and run.calls == 1


def test_only_what_is_missing_is_measured(case, timings):
    call, inputs = case
    known, new = Counted(), Counted()
    Measurements(timings).of(call, [backend("a", Counted())], inputs)

    found = Measurements(timings).of(call, [backend("a", known), backend("b", new)], inputs)

    assert set(found) == {"a", "b"} and all(m.usable for m in found.values())
    assert known.calls == 0 < new.calls


def test_timing_of_another_version_is_measured_again(case, timings):
    call, inputs = case
    timings("cpu").write(call, {"a": Timing(1e-6, 1e-6, None, "0.9")})
    run = Counted()

    found = Measurements(timings).of(call, [backend("a", run)], inputs)

    assert run.calls > 1 and found["a"].milliseconds > 1e-6


def test_refusal_holds_for_the_session_and_is_not_written(case, timings):
    call, inputs = case
    run = Counted(2.0)
    knowledge = Measurements(timings)

    first = knowledge.of(call, [backend("a", run)], inputs)
    second = knowledge.of(call, [backend("a", run)], inputs)

    assert first["a"].refusal == second["a"].refusal == "error 1.0e+00, needs at most 1e-03"
    assert run.calls == 1 and timings("cpu").read(call) == {}


def test_the_time_of_a_stand_in_is_neither_kept_nor_is_torchs_own_taken_for_it(
    case, timings, monkeypatch
):
    """While another package sits under torch's name, its speed is its own, and goes when it goes."""
    call, inputs = case
    names = ("flash", "math")
    own = {name: Timing(0.25, 1.0) for name in names}
    timings("cpu").write(call, own)
    stood_in = {"flash": "flash is not torch's own in this process: another replaced it"}
    monkeypatch.setattr(
        "wanattn.attention.backends.process.replaced", lambda name: stood_in.get(name, "")
    )
    runs = {name: Counted() for name in names}

    found = Measurements(timings).of(call, [backend(n, run) for n, run in runs.items()], inputs)

    assert runs["flash"].calls > 0 and runs["math"].calls == 0
    assert found["flash"].usable and found["math"].milliseconds == 0.25
    assert timings("cpu").read(call) == own
