from __future__ import annotations

import csv
import io

import pytest
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.payload import payload_of
from wanattn.attention.report.text import csv_of, summary, text_of

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
