from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from wanattn.attention.backends import BACKENDS, Backend
from wanattn.attention.choose import policy
from wanattn.attention.choose.policy import Policy
from wanattn.attention.record import evidence, profilers
from wanattn.attention.record.evidence import watch
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.payload import payload_of
from wanattn.attention.report.text import text_of
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward
from wanattn.tests.child import children
from wanattn.tests.fixtures import attend as one_call

PROFILERS = ("whole", "of_autograd", "warming_up")
OTHERS = ("ended", "meanwhile")


@pytest.fixture
def lying(monkeypatch):
    """A backend called flash that computes with something else."""

    def install(run):
        liar = Backend("flash", "FlashAttention", lambda call, environment: [], run, {})
        monkeypatch.setitem(policy.BACKENDS, "flash", liar)

    return install


def attend(tensors, proof, calls=3, backend="flash"):
    recorder = Recorder()
    forward = Forward(step=0, proof=proof, wish=backend, recorders=[recorder])
    dispatcher = Dispatcher(Policy(backend))
    with torch.inference_mode():
        for _ in range(calls):
            one_call(dispatcher, tensors(), forward)
    return recorder


def records(recorder):
    return [record for _, record in recorder.snapshot().calls]


@pytest.mark.parametrize(
    ("proof", "evidence"),
    [
        ("", ["forced"] * 3),
        ("off", ["forced"] * 3),
        ("sample", ["profiled", "forced", "forced"]),
        ("every call", ["profiled"] * 3),
    ],
)
def test_the_setting_decides_how_much_is_profiled(tensors, proof, evidence):
    assert [record.evidence for record in records(attend(tensors, proof))] == evidence


def test_operators_are_kept_with_the_row(tensors):
    payload = payload_of(attend(tensors, "sample").snapshot(), {})

    (row,) = payload["rows"]
    assert row["evidence"] == "forced, profiled"
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in row["operators"]
    assert payload["mismatches"] == 0


def test_a_backend_that_runs_another_kernel_is_found_out(tensors, lying):
    lying(BACKENDS["math"].run)

    recorder = attend(tensors, "sample")

    assert {(r.requested, r.active, r.mismatch) for r in records(recorder)} == {
        ("flash", "math", True)
    }
    payload = payload_of(recorder.snapshot(), {})
    assert payload["mismatches"] == 3
    assert payload["fallbacks"][0]["reason"] == "flash was forced, but the profiler saw math"
    assert "! MISMATCH: in 3 calls the profiler saw another backend" in text_of(payload)


def test_a_backend_that_runs_no_kernel_of_torch_is_found_out(tensors, lying):
    lying(lambda q, k, v, mask, scale: (q @ k.mT).softmax(-1) @ v)

    assert {record.active for record in records(attend(tensors, "sample"))} == {"unknown"}


def test_without_profiling_a_lie_goes_unnoticed(tensors, lying):
    lying(BACKENDS["math"].run)

    assert {record.active for record in records(attend(tensors, "off"))} == {"flash"}


def test_a_users_own_profiler_and_ours_do_not_break_each_other(tensors):
    with profile(activities=[ProfilerActivity.CPU]) as session:
        recorder = attend(tensors, "every call")

    assert {record.evidence for record in records(recorder)} == {"forced"}
    names = [event.name for event in session.events()]
    assert names.count("aten::_scaled_dot_product_flash_attention_for_cpu") == 3
    assert {record.evidence for record in records(attend(tensors, "every call"))} == {"profiled"}


def test_a_profiler_in_another_thread_is_left_alone(tensors):
    started, finished, names = threading.Event(), threading.Event(), []

    def users():
        with profile(activities=[ProfilerActivity.CPU]) as session:
            started.set()
            finished.wait(30)
        names.extend(event.name for event in session.events())

    thread = threading.Thread(target=users)
    thread.start()
    started.wait(30)
    during = attend(tensors, "every call")
    finished.set()
    thread.join()

    assert {record.evidence for record in records(during)} == {"forced"}
    assert {record.evidence for record in records(attend(tensors, "sample"))} >= {"profiled"}


def test_a_failing_profiler_costs_only_the_proof(tensors, monkeypatch):
    def broken(**options):
        raise RuntimeError("Can't disable Kineto profiler when it's not running")

    monkeypatch.setattr(evidence, "profile", broken)

    assert {(r.active, r.evidence) for r in records(attend(tensors, "sample"))} == {
        ("flash", "forced")
    }


def test_a_failing_call_runs_once_under_the_profiler():
    runs = []

    def fail():
        runs.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watch(fail, torch.device("cpu"))

    assert len(runs) == 1


def test_a_call_beside_a_profiled_one_does_not_wait_for_it():
    inside, release, seen = threading.Event(), threading.Event(), []

    def slow():
        inside.set()
        assert release.wait(30)
        return torch.ones(1)

    thread = threading.Thread(target=lambda: seen.append(watch(slow, torch.device("cpu"))))
    thread.start()
    assert inside.wait(30)

    result, sighting = watch(lambda: torch.ones(2), torch.device("cpu"))

    assert sighting is None and not seen  # the other one is still inside
    release.set()
    thread.join()
    assert result.shape == (2,)


@pytest.fixture(scope="module", autouse=True)
def beside():
    """How a process ends in which another thread profiles, by its kind, and its last line; all run meanwhile."""
    script = str(Path(__file__).with_name("other_profiler.py"))
    commands = {kind: [sys.executable, script, kind] for kind in (*PROFILERS, *OTHERS)}

    with children(commands) as started:

        def beside(kind):
            done = started[kind].ended()
            return done.returncode, (done.stdout.splitlines() or [done.stderr])[-1]

        yield beside


@pytest.mark.parametrize("kind", PROFILERS)
def test_no_kind_of_profiler_in_another_thread_ends_the_process(beside, kind):
    code, told = beside(kind)

    assert (code, told) == (0, f"proved 0 of 3, then True: {evidence.OTHER}")


def test_a_profiler_that_has_ended_costs_no_proof(beside):
    assert beside("ended") == (0, "proved 3 of 3, then True: ")


def test_a_profiler_that_starts_while_ours_is_at_work_waits_for_its_end(beside):
    assert beside("meanwhile") == (0, "waited True, proved True, seen True, restored True")


def test_the_node_says_why_calls_went_unproved(tensors):
    forward = Forward(step=0, proof="every call", wish="flash", recorders=[Recorder()])
    dispatcher = Dispatcher(Policy("flash"))
    with profile(activities=[ProfilerActivity.CPU]), torch.inference_mode():
        one_call(dispatcher, tensors(), forward)
        one_call(dispatcher, tensors(), forward)

    assert dispatcher.notes == [evidence.OTHER]


def test_other_profilers_are_looked_for_a_twentieth_of_the_time_at_most(monkeypatch):
    looks = []

    def objects():
        looks.append(len(looks))
        time.sleep(0.02)
        return []

    monkeypatch.setattr(profilers.gc, "get_objects", objects)
    look = profilers.OtherProfilers()
    began = time.perf_counter()
    while time.perf_counter() - began < 0.9:
        assert not look.found()
        time.sleep(0.001)

    assert 1 <= len(looks) <= 4
