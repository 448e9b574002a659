"""The gain against the host's default: from times of the run, and none where a part of it was not measured."""

import dataclasses

import pytest
import torch
from wanattn.attention.call import Call
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.gain import gain_of

SELF = Call("self", 1, 2, 64, 64, 64, torch.float32)
TEXT = dataclasses.replace(SELF, role="text", kv_len=512)


def snapshot(*calls, seconds=2.0, state="finished", measuring=0.0):
    """`calls` are kind, requested and milliseconds."""
    recorder = Recorder()
    run = recorder.begin("job", 1)
    for call, requested, milliseconds in calls:
        recorder.add(Record(call, requested, "flash", "forced", milliseconds=milliseconds))
    recorder.end(run, state)
    run.seconds, run.measuring = seconds, measuring
    return recorder.snapshot()


def test_attention_and_the_whole_run_are_told_from_the_medians():
    calls = [(SELF, "auto", ms) for ms in (100.0, 100.0, 900.0)] + [(TEXT, "auto", 100.0)]
    gain = gain_of(snapshot(*calls), {SELF: 200.0, TEXT: 200.0})

    assert gain["attention"] == 2.0
    assert gain["run"] == 1.2  # 2 s, and 0.4 s more without
    assert gain["against"] == "ComfyUI's default"


def test_seconds_of_measuring_are_not_counted():
    found = gain_of(snapshot((SELF, "auto", 500.0), measuring=1.0), {SELF: 1000.0})

    assert found["run"] == 1.5


def test_what_was_left_to_the_host_gains_nothing():
    found = gain_of(
        snapshot((SELF, "auto", 100.0), (TEXT, "host", 100.0)), {SELF: 200.0, TEXT: 900.0}
    )

    assert found["attention"] == 1.5


def test_each_call_that_was_left_to_the_host_counts_alike_on_both_sides():
    calls = [(SELF, "auto", 100.0)] + [(TEXT, "host", 100.0)] * 4
    found = gain_of(snapshot(*calls), {SELF: 200.0})

    assert found["attention"] == 1.2  # 600 ms to 500


def test_a_slower_choice_is_told_as_it_is():
    assert gain_of(snapshot((SELF, "math", 200.0)), {SELF: 100.0})["attention"] == 0.5


@pytest.mark.parametrize("known", [{}, {TEXT: 100.0}])
def test_no_figure_where_a_kind_was_not_measured(known):
    assert gain_of(snapshot((SELF, "auto", 100.0), (TEXT, "auto", 1.0)), known) is None


def test_no_figure_where_the_run_was_not_timed():
    assert gain_of(snapshot((SELF, "auto", None)), {SELF: 100.0}) is None


def test_the_whole_run_is_not_told_before_it_is_over():
    found = gain_of(snapshot((SELF, "auto", 100.0), state="interrupted"), {SELF: 200.0})

    assert (found["attention"], found["run"]) == (2.0, None)


def test_the_whole_run_is_not_told_where_attention_took_longer_than_it():
    """Several devices at once: their times together say nothing of the clock's."""
    found = gain_of(snapshot((SELF, "auto", 900.0), seconds=0.6), {SELF: 1800.0})

    assert (found["attention"], found["run"]) == (2.0, None)
