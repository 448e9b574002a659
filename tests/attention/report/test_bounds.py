"""What is sent and drawn stays small and quick, however much was recorded, and says what it leaves out."""

from __future__ import annotations

import json
import time
from dataclasses import astuple

import pytest
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.bounds import MOST_BYTES, Bounds, bounded
from wanattn.attention.report.payload import payload_of
from wanattn.attention.report.text import summary

MOST_MILLISECONDS = 20
FACTS = {"torch": "2.11.0"}


def event(recorder: Recorder) -> dict:
    snapshot = recorder.glance()
    summary(snapshot.counts)
    return bounded(payload_of(snapshot, FACTS))


def size(payload: dict) -> int:
    return len(json.dumps(payload))


def milliseconds(recorder: Recorder) -> float:
    """Of this thread alone, at its best: others use this machine too."""
    found = []
    for _ in range(15):
        start = time.thread_time()
        event(recorder)
        found.append((time.thread_time() - start) * 1e3)
    return min(found)


def filled(calls, steps: int = 50, runs: int = 1) -> Recorder:
    """`calls` gives the records of a step; each step is a forward of its own."""
    recorder = Recorder()
    for _ in range(runs):
        run = recorder.begin("job", steps)
        for step in range(steps):
            recorder.forward(step)
            for record in calls(step):
                recorder.add(record)
        recorder.end(run, "finished")
    return recorder


def record(call, step: int, block: int | None = 0, **changes) -> Record:
    facts = {"requested": "auto", "active": "flash", "evidence": "forced", "milliseconds": 1.5}
    return Record(call, **{**facts, **changes}, step=step, block=block)


def of_many_steps(make_call) -> Recorder:
    """40 blocks of two roles, in 10,000 steps: 800,000 calls, of which 100,000 are kept."""
    own, text = make_call(role="self"), make_call(role="text", kv_len=512)

    def step_of(step):
        return [record(call, step, block) for block in range(40) for call in (own, text)]

    return filled(step_of, steps=10_000)


def of_many_shapes(make_call) -> Recorder:
    calls = [make_call(q_len=100 + n, kv_len=100 + n) for n in range(16_000)]
    reasons = [f"q_len {100 + n}, needs a multiple of 7" for n in range(16_000)]
    each = [
        record(call, 0, n % 40, reason=why)
        for n, (call, why) in enumerate(zip(calls, reasons, strict=True))
    ]
    return filled(lambda step: each[step * 1600 : (step + 1) * 1600], steps=10)


def of_many_records(make_call) -> Recorder:
    call = make_call()
    times = [1.0 + (n * 7919 % 1000) / 1000 for n in range(1000)]
    return filled(
        lambda step: [record(call, step, n % 40, milliseconds=times[n]) for n in range(1000)],
        steps=100,
    )


def of_many_runs(make_call) -> Recorder:
    call = make_call()
    return filled(lambda step: [record(call, step)], steps=4, runs=5_000)


def of_long_words(make_call) -> Recorder:
    words = [f"{n}{'word ' * 2000}" for n in range(300)]
    return filled(
        lambda step: [
            record(make_call(q_len=n + 1), step, active=w, requested=w, reason=w)
            for n, w in enumerate(words)
        ],
        steps=1,
    )


AMOUNTS = {
    "10,000 steps": of_many_steps,
    "16,000 shapes": of_many_shapes,
    "100,000 records": of_many_records,
    "5,000 runs": of_many_runs,
    "3 MB of words": of_long_words,
}


@pytest.mark.parametrize("amount", AMOUNTS)
def test_an_event_is_small_and_quick_at_any_size(make_call, amount):
    recorder = AMOUNTS[amount](make_call)

    made = event(recorder)

    assert size(made) <= MOST_BYTES
    assert milliseconds(recorder) < MOST_MILLISECONDS


def test_what_is_left_out_is_told_and_totals_are_whole(make_call):
    made = event(of_many_shapes(make_call))

    assert (made["calls"], sum(made["totals"].values())) == (16_000, 16_000)
    assert made["left_out"] == {"rows": 15_880, "fallbacks": 15_950}
    (grid,) = made["grid"]
    shown = {index for line in grid["row"] for index in line}
    assert max(shown) < len(made["rows"])
    assert -2 in shown  # a cell of a row that is not here is no empty one


def test_runs_that_are_left_out_keep_their_seconds(make_call):
    recorder = of_many_runs(make_call)
    made = event(recorder)

    assert [run["run"] for run in made["runs"]] == list(range(4961, 5001))
    assert made["left_out"]["runs"] == 4960
    whole = sum(run.seconds for run in recorder.runs)
    told = made["left_out"]["seconds"] + sum(run["seconds"] for run in made["runs"])
    assert told == pytest.approx(whole, rel=1e-2)
    assert made["calls"] == 20_000


def test_many_steps_become_few_lines_and_bars(make_call):
    """A fallback is seen in whatever line it falls."""
    call = make_call()
    wrong = record(call, 7_654, 3, active="math", reason="cudnn: out of memory")
    recorder = filled(
        lambda step: [wrong if step == 7_654 else record(call, step, 3)], steps=10_000
    )
    made = event(recorder)

    (grid,) = made["grid"]
    (run,) = made["runs"]
    fell = next(n for n, row in enumerate(made["rows"]) if row["active"] == "math")
    lines = [number for number, line in enumerate(grid["row"]) if line[3] == fell]
    assert lines == [7_654 // grid["stride"]]
    assert len(grid["row"]) * grid["stride"] >= 10_000
    assert (run["begun"], run["stride"], len(run["step_seconds"])) == (10_000, 3, 3334)


def test_a_small_report_is_left_as_it_is(make_call):
    payload = payload_of(filled(lambda step: [record(make_call(), step)]).snapshot(), FACTS)

    assert bounded(payload) == payload
    assert "left_out" not in payload


def test_a_glance_tells_the_same_as_the_whole(make_call):
    recorder = filled(lambda step: [record(make_call(), step, block) for block in range(4)])

    assert payload_of(recorder.glance(), FACTS) == payload_of(recorder.snapshot(), FACTS)


def test_words_of_others_cannot_make_it_larger(make_call):
    payload = payload_of(filled(lambda step: [record(make_call(), step)]).snapshot(), FACTS)
    huge = {**payload, "model": {"class": "x" * 10**6}, "environment": {"gpu": "y" * 10**6}}

    assert size(bounded(huge)) <= MOST_BYTES


def test_the_smallest_event_has_totals_and_words_that_can_be_read(make_call):
    payload = payload_of(of_long_words(make_call).snapshot(), FACTS)
    payload["notes"] = [f"{n} {'word ' * 2000}" for n in range(100)]

    least = bounded(payload, 1)

    assert (least["rows"], least["notes"], least["fallbacks"]) == ([], [], [])
    assert (least["calls"], len(least["runs"])) == (300, 1)
    assert least["left_out"]["notes"] == 100
    assert len(least["requested"]) == 43


def test_what_is_too_large_is_cut_by_half_and_no_further():
    for before, after in zip(astuple(Bounds()), astuple(Bounds().halved()), strict=True):
        assert after == before // 2
