"""Several ranks' reports as one: nothing counted twice, nothing lost, and the slowest named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from wanattn.attention.call import Call
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.payload import payload_of
from wanattn.attention.report.ranks import Part, csv_of_ranks, merged
from wanattn.attention.report.text import csv_of, text_of

SCHEMA = Path(__file__).parents[2] / "web" / "fixtures" / "payload.schema.json"
BLOCKS, STEPS = 2, 2
CALL = Call("self", 1, 20, 1024, 1024, 128, torch.bfloat16, "cuda:0")


def snapshot_of(milliseconds, active="flash", reason="", state="finished"):
    recorder = Recorder()
    run = recorder.begin(None, STEPS)
    for step in range(STEPS):
        recorder.forward(step)
        for block in range(BLOCKS):
            facts = {"reason": reason, "step": step, "block": block, "milliseconds": milliseconds}
            recorder.add(Record(CALL, "auto", active, "forced", **facts))
    recorder.end(run, state)
    return recorder.snapshot()


def part(call, rank, milliseconds, notes=("shared",), **how):
    facts = {"device": "cuda:0", "card": f"card {rank}", "mode": "Ulysses 2", "measuring_ms": rank}
    snapshot = snapshot_of(milliseconds, **how)
    return Part(call, rank, facts, payload_of(snapshot, {"torch": "2.11"}, notes=notes))


@pytest.fixture
def two():
    return [part(1, 0, 4.0), part(1, 1, 6.0, ("shared", "own"), active="cudnn", reason="no flash")]


def test_calls_are_added_up_and_rows_keep_their_rank(two):
    payload = merged(two, "7")

    assert payload["calls"] == 2 * BLOCKS * STEPS
    assert payload["totals"] == {"flash": 4, "cudnn": 4}
    assert [(row["rank"], row["active"]) for row in payload["rows"]] == [(1, "cudnn"), (0, "flash")]
    assert payload["account"]["calls"] == payload["account"]["hooked"] == 8
    assert payload["fallbacks"] == [
        {"requested": "auto", "active": "cudnn", "reason": "no flash", "calls": 4}
    ]
    assert [(run["rank"], run["run"]) for run in payload["runs"]] == [(0, 1), (1, 1)]


def test_each_cell_points_at_a_row_of_its_own_rank(two):
    payload = merged(two, "7")

    assert [grid["rank"] for grid in payload["grid"]] == [0, 1]
    for grid in payload["grid"]:
        rows = {index for line in grid["row"] for index in line}
        assert {payload["rows"][index]["rank"] for index in rows} == {grid["rank"]}


def test_a_cell_without_a_call_points_at_no_row():
    lone = part(1, 0, 4.0)
    lone.payload["grid"][0]["row"][1][0] = -1

    (grid,) = merged([lone], "7")["grid"]

    assert grid["row"] == [[0, 0], [-1, 0]]


def test_the_slowest_rank_is_named_and_notes_tell_whose_they_are(two):
    payload = merged(two, "7", ["rank 2 gave no report"])

    assert payload["state"] == "failed"
    assert payload["notes"] == [
        "rank 2 gave no report",
        "slowest: rank 1 (card 1), 0.024 s in attention, 1.50x of rank 0 (card 0)",
        "shared",
        "rank 1: own",
    ]
    assert [d["measuring_ms"] for d in payload["devices"]] == [0, 1]
    text = text_of(payload)
    assert "rank 1 cuda:0: 4 calls, 24 ms in attention" in text
    assert "rank 0, run 1: finished" in text


def test_the_newest_sampler_call_gives_the_grid_and_all_give_the_totals(two):
    payload = merged([*two, part(2, 0, 1.0), part(2, 1, 1.0)], "7")

    assert payload["calls"] == 16
    assert {grid["run"] for grid in payload["grid"]} == {2}
    assert all(
        payload["rows"][i]["milliseconds"] == 1.0 for g in payload["grid"] for i in g["row"][0]
    )


def test_it_is_what_the_page_reads(two):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema not installed")

    jsonschema.validate(json.loads(json.dumps(merged(two, "7"))), json.loads(SCHEMA.read_text()))


def test_one_rank_has_no_columns_of_devices(two):
    assert "devices" not in merged(two[:1], "7")


def test_no_rank_at_all_is_said(two):
    with pytest.raises(ValueError, match="rank 0 died"):
        merged([], "7", ["rank 0 died"])


def test_the_table_has_the_rank_and_the_sampler_call_of_every_line():
    text = csv_of(snapshot_of(4.0))

    lines = csv_of_ranks([(1, 0, text), (2, 1, text)]).splitlines()
    assert lines[0].startswith("rank,run,step,block")
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["0", "1", "0"], ["0", "1", "0"], ["0", "1", "1"], ["0", "1", "1"],
        ["1", "2", "0"], ["1", "2", "0"], ["1", "2", "1"], ["1", "2", "1"],
    ]  # fmt: skip
