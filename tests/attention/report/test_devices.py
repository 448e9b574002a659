"""What each of several devices did: totals, rates, memory; nothing of it where one did all."""

from __future__ import annotations

import csv
import dataclasses
import io

import pytest
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.devices import devices_of
from wanattn.attention.report.payload import payload_of
from wanattn.attention.report.text import csv_of, text_of

SLOW, FAST = "cuda:1", "cuda:0"


@pytest.fixture
def recorder(make_call):
    """One conditioning a card; the second takes four times as long for its calls."""
    recorder = Recorder()
    for peak in (20, 10):
        run = recorder.begin("job", steps=1)
        for device, milliseconds in ((FAST, 1.0), (SLOW, 4.0)):
            call = dataclasses.replace(make_call(), device=device)
            for block in range(3):
                place = {"step": 0, "block": block, "milliseconds": milliseconds}
                recorder.add(Record(call, "flash", "flash", "forced", **place))
        run.peaks = {FAST: peak * 2**30, SLOW: 15 * 2**30}
        recorder.end(run, "finished")
    return recorder


def test_every_device_has_its_totals(recorder, make_call):
    payload = payload_of(recorder.snapshot(), {})

    rate = make_call().flops / 1e9  # TFLOP/s of a call in one millisecond
    fast, slow = payload["devices"]
    assert (fast["device"], slow["device"]) == (FAST, SLOW)
    assert (fast["calls"], slow["calls"]) == (6, 6)
    assert (fast["milliseconds_total"], slow["milliseconds_total"]) == (6.0, 24.0)
    assert fast["tflops"] == pytest.approx(rate, rel=1e-3)
    assert slow["tflops"] == pytest.approx(rate / 4, rel=1e-3)
    assert (fast["peak_gib"], slow["peak_gib"]) == (20.0, 15.0)
    assert [run["peak_gib"] for run in payload["runs"]] == [20.0, 15.0]


def test_rows_lines_and_csv_say_where_a_call_ran(recorder):
    payload = payload_of(recorder.snapshot(), {})
    text = text_of(payload).splitlines()

    assert {row["device"] for row in payload["rows"]} == {FAST, SLOW}
    head = next(line for line in text if line.startswith("role"))
    assert head.split()[:2] == ["role", "device"]
    assert sum(line.split()[:2] == ["self", SLOW] for line in text) == 1
    (line,) = (line for line in text if line.startswith(f"{SLOW}: "))
    assert "6 calls, 24 ms in attention" in line and "peak 15.0 GiB" in line
    lines = list(csv.DictReader(io.StringIO(csv_of(recorder.snapshot()))))
    assert [line["device"] for line in lines] == [FAST] * 3 + [SLOW] * 3 + [FAST] * 3 + [SLOW] * 3


def test_one_device_needs_no_words(make_call):
    recorder = Recorder()
    recorder.add(Record(make_call(), "flash", "flash", "forced", milliseconds=1.0))
    payload = payload_of(recorder.snapshot(), {})

    assert "devices" not in payload
    assert "device" not in text_of(payload)


def test_a_device_that_nobody_can_time_says_what_is_known(make_call):
    recorder = Recorder()
    for device in (FAST, "xpu:0"):
        call = dataclasses.replace(make_call(), device=device)
        recorder.add(Record(call, "flash", "flash", "forced"))
    payload = payload_of(recorder.snapshot(), {})

    assert [device["tflops"] for device in payload["devices"]] == [None, None]
    assert "xpu:0: 1 call\n" in text_of(payload)


def test_calls_without_a_rate_take_their_time_and_add_nothing_to_it():
    row = {"calls": 2, "milliseconds_total": 10.0, "tflops": 300.0, "device": FAST}
    unknown, other = {**row, "tflops": None}, {**row, "device": SLOW, "milliseconds_total": None}

    fast, slow = devices_of([row, unknown, other], {})

    assert (fast["calls"], fast["milliseconds_total"], fast["tflops"]) == (4, 20.0, 150.0)
    assert (slow["calls"], slow["milliseconds_total"], slow["tflops"]) == (2, None, None)
