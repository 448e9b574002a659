from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.devices import device_line
from wanattn.attention.report.payload import payload_of
from wanattn.attention.report.text import account_lines, csv_of, summary, table, text_of

REASON = "cuDNN does not exist on cpu"


@pytest.fixture
def recorder(make_call):
    """Two steps of two blocks: self calls fast, text calls fallen back."""
    recorder = Recorder()
    run = recorder.begin("job", steps=2)
    text = make_call(role="text", kv_len=512)
    for step in range(2):
        for block in range(2):
            place = {"step": step, "block": block, "cond": "cond", "milliseconds": 1.0 + step}
            recorder.add(Record(make_call(), "cudnn", "cudnn", "forced", **place))
            recorder.add(Record(text, "cudnn", "flash", "forced", REASON, **place))
    recorder.end(run, "finished")
    return recorder


def test_totals_count_what_ran(recorder):
    payload = payload_of(recorder.snapshot(), {})

    assert (payload["requested"], payload["calls"]) == ("cudnn", 8)
    assert payload["totals"] == {"cudnn": 4, "flash": 4}
    assert payload["fallbacks"] == [
        {"requested": "cudnn", "active": "flash", "reason": REASON, "calls": 4}
    ]


def test_a_row_has_calls_times_and_rate(recorder, make_call):
    rows = payload_of(recorder.snapshot(), {})["rows"]

    row = next(row for row in rows if row["role"] == "self")
    assert (row["calls"], row["milliseconds"], row["milliseconds_total"]) == (4, 1.5, 6.0)
    assert row["tflops"] == pytest.approx(make_call().flops / 1.5e-3 / 1e12, rel=1e-4)
    assert (row["evidence"], row["reasons"]) == ("forced", [])


def test_the_grid_points_into_the_rows(recorder):
    payload = payload_of(recorder.snapshot(), {})

    grid = next(grid for grid in payload["grid"] if grid["role"] == "text")
    assert (grid["steps"], grid["blocks"]) == (2, 2)
    assert {payload["rows"][cell]["active"] for line in grid["row"] for cell in line} == {"flash"}
    assert grid["ms"] == [[1.0, 1.0], [2.0, 2.0]]


def test_a_cell_shows_the_fallback_when_both_conds_differ(recorder, make_call):
    fallen = Record(make_call(), "cudnn", "math", "forced", "out of memory", step=0, block=0)
    recorder.add(fallen)
    recorder.add(Record(make_call(), "cudnn", "cudnn", "forced", step=0, block=0))

    payload = payload_of(recorder.snapshot(), {})

    grid = next(grid for grid in payload["grid"] if grid["role"] == "self")
    assert payload["rows"][grid["row"][0][0]]["active"] == "math"


def test_the_csv_has_one_line_a_call(recorder):
    lines = list(csv.DictReader(io.StringIO(csv_of(recorder.snapshot()))))

    assert ",".join(lines[0]) == (
        "run,step,block,role,cond,batch,heads,q_len,kv_len,head_dim,dtype,mask,"
        "requested,active,evidence,reason,ms,via,device"
    )
    assert len(lines) == 8
    assert (lines[1]["role"], lines[1]["kv_len"], lines[1]["reason"]) == ("text", "512", REASON)


def test_the_status_line_is_short_when_all_went_as_asked(make_call):
    recorder = Recorder()
    for _ in range(320):
        recorder.add(Record(make_call(), "auto", "flash", "forced"))

    assert summary(recorder.runs[0].counts) == "flash 320/320 calls"


def test_the_status_line_says_what_was_asked_when_it_differs(make_call):
    recorder = Recorder()
    for _ in range(320):
        recorder.add(Record(make_call(), "cudnn", "flash", "forced", REASON))

    line = summary(recorder.runs[0].counts, "interrupted")
    assert line == f"asked cudnn, ran flash 320: {REASON} (interrupted)"


def test_the_text_has_the_same_facts(recorder):
    payload = payload_of(
        recorder.snapshot(), {"torch": "2.11.0", "gpu": None}, coverage=["FaceBlock"]
    )

    text = text_of(payload)

    assert text.splitlines()[:2] == [
        "asked cudnn, ran cudnn 50 %, flash 50 % of 8 calls",
        f"! 4 calls ran flash: {REASON}",
    ]
    assert "not seen: FaceBlock" in text
    assert "torch 2.11.0" in text and "gpu" not in text


def test_nothing_recorded_is_said(recorder):
    payload = payload_of(Recorder().snapshot(), {})

    assert payload["state"] == "idle"
    assert text_of(payload).startswith("No attention call was recorded.")


@pytest.mark.parametrize(
    ("place", "head"),
    [
        ({"step": 2, "block": 0}, "stopped at step 2, block 0: no kernel"),
        ({"step": 0, "block": None}, "stopped at step 0: no kernel"),
        ({"step": None, "block": None}, "stopped: no kernel"),
    ],
)
def test_what_ended_a_run_comes_first_with_its_place_and_what_helps(recorder, place, head):
    failure = {"sentence": "no kernel", "advice": "Choose another.", **place}

    text = text_of(payload_of(recorder.snapshot(), {}) | {"failure": failure})

    lines = text.splitlines()
    assert lines[lines.index(head) :][:3] == [head, "Choose another.", ""]


EVERY = Path(__file__).parents[2] / "web" / "fixtures" / "every.json"
TOLD = """\
stopped at step 2, block 0: cuDNN does not exist on cpu
Set on_refusal to 'next best', or choose another backend.

asked cudnn, ran flash 100 % of 16 calls (failed)
2 of 18 calls did not come through the hook: 2 face ran flash, hooked by another pack
! 16 calls ran flash: cuDNN does not exist on cpu
attention 1.7x, whole run 1.5x as fast as ComfyUI's default, measured at the first call

role  device      query        keys  dtype    requested  active  evidence  calls  ms   TFLOP/s  reason
self  rank 0 cpu  1x2x320x128  320   float32  cudnn      flash   forced    8      0.4  0.5      {reason}
text  rank 1 cpu  1x2x320x128  512   float32  cudnn      flash   forced    8      0.4  0.5      {reason}
rank 0, run 1: failed, 4 forwards, 16 calls, 0.78 s, peak 1.25 GiB
rank 1, run 1: failed, 4 forwards, 16 calls, 0.78 s, peak 1.25 GiB
rank 0 cuda:0: 8 calls, 3.2 ms in attention, 0.5 TFLOP/s, peak 1.25 GiB
rank 1 cuda:0: 8 calls, 3.2 ms in attention, 0.5 TFLOP/s, peak 1.25 GiB

torch 2.11.0 | memory_gib 79.2
not seen: face adapter: its attention call passes no options
roles are guesses"""


@pytest.fixture
def every():
    return json.loads(EVERY.read_text(encoding="utf-8"))


def test_a_report_with_all_that_there_can_be(every):
    (reason,) = every["rows"][0]["reasons"]

    assert text_of(every) == TOLD.format(reason=reason)


def test_what_was_not_measured_has_a_dash_and_a_mask_is_named(every):
    row = {**every["rows"][0], "milliseconds": None, "tflops": None, "mask": "bool", "reasons": []}
    del row["rank"]

    _, line = table([row])

    assert line == (
        "self  1x2x320x128  320   float32 bool mask  cudnn      flash   forced    8      -   -"
    )


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([], "No attention call was recorded. Is this node's output what the sampler gets?"),
        ([0], "The sampler ran no step with this model."),
        ([1], "This model made no attention call in 1 forward."),
        ([1, 3], "This model made no attention call in 4 forwards."),
    ],
)
def test_why_there_is_no_call(every, runs, told):
    none = {"calls": 0, "rows": [], "failure": None, "gain": None, "devices": []}
    none["runs"] = [{**every["runs"][0], "forwards": forwards} for forwards in runs]
    none["account"] = {"calls": 0, "hooked": 0, "past": []}

    lines = text_of({**every, **none}).splitlines()

    assert lines[:2] == [told, ""]
    ones = [line.partition("forward")[2][:2] for line in lines if "run 1: " in line]
    assert ones == [", " if forwards == 1 else "s," for forwards in runs]


def test_calls_that_nobody_saw_are_called_unseen():
    past = [
        {"calls": 3, "role": "face", "how": "no options", "ran": ""},
        {"calls": 2, "role": "text", "how": "replaced", "ran": "flash"},
    ]

    assert account_lines({"calls": 9, "hooked": 4, "past": past}) == [
        "5 of 9 calls did not come through the hook: 3 face unseen, no options; 2 text ran flash, replaced"
    ]
    assert account_lines({"calls": 9, "hooked": 9, "past": []}) == []


def test_a_gain_of_attention_alone_says_nothing_of_the_run(every):
    text = text_of({**every, "gain": {**every["gain"], "run": None}})

    assert "\nattention 1.7x as fast as ComfyUI's default, measured at the first call\n" in text


def test_a_contradiction_comes_before_all_other_reasons(every):
    lines = text_of({**every, "mismatches": 2, "state": "finished", "dropped": 5}).splitlines()

    first = lines.index("asked cudnn, ran flash 100 % of 16 calls")
    assert lines[first + 2].startswith("! MISMATCH: in 2 calls the profiler saw another backend")
    assert lines[first + 3].startswith("! 16 calls ran flash")
    assert "5 oldest calls dropped from the call list; totals include them" in lines


def test_a_status_line_is_cut_where_nobody_would_read_on():
    many = Counter({("auto", f"kernel{n}", f"reason {n}" + "x" * 500): 10 - n for n in range(8)})

    line = summary(many)

    assert "kernel5 5, 2 more: reason 0" in line and "kernel6" not in line
    assert line.endswith("... | 2 more") and len(line) < 6 * 410 + 200
    exactly = Counter({("auto", "flash", "x" * 400): 1})
    assert summary(exactly) == f"asked auto, ran flash 1: {'x' * 400}"
    assert summary(Counter()) == "no attention call yet"
    assert summary(Counter({("auto", "a", ""): 1, ("auto", "b", ""): 3})) == "b 3, a 1 of 4 calls"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "cuda:1: 8 calls, 812.3 ms in attention, 402 TFLOP/s, peak 21.4 GiB"),
        ({"calls": 1, "peak_gib": None}, "cuda:1: 1 call, 812.3 ms in attention, 402 TFLOP/s"),
        (
            {"tflops": None, "milliseconds_total": 0.0},
            "cuda:1: 8 calls, 0 ms in attention, peak 21.4 GiB",
        ),
        ({"tflops": None, "milliseconds_total": None}, "cuda:1: 8 calls, peak 21.4 GiB"),
    ],
)
def test_a_device_is_told_as_far_as_it_is_known(facts, told):
    device = {"device": "cuda:1", "calls": 8, "milliseconds_total": 812.34, "tflops": 402.1}

    assert device_line({**device, "peak_gib": 21.4, **facts}) == told
