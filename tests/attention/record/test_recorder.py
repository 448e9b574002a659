from __future__ import annotations

import threading

from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder, Run


def record(make_call, active="flash", reason="", **facts):
    return Record(make_call(device="cpu"), "auto", active, "forced", reason, **facts)


def test_the_oldest_calls_are_dropped_and_counted(make_call):
    recorder = Recorder(limit=10)

    for step in range(25):
        recorder.add(record(make_call, step=step, milliseconds=2.0))

    snapshot = recorder.snapshot()
    assert [call.step for _, call in snapshot.calls] == list(range(15, 25))
    assert snapshot.dropped == 15
    (tally,) = snapshot.rows.values()
    assert (tally.calls, tally.milliseconds) == (25, 50.0)
    assert snapshot.counts.total() == 25


def test_a_long_run_does_not_grow(make_call):
    recorder = Recorder(limit=10)

    for _ in range(30_000):
        recorder.add(record(make_call, milliseconds=1.0))

    snapshot = recorder.snapshot()
    (tally,) = snapshot.rows.values()
    assert (len(snapshot.calls), len(tally.times)) == (10, 19_999)
    assert (tally.calls, tally.milliseconds) == (30_000, 30_000.0)


def test_runs_of_one_job_are_kept_side_by_side(make_call):
    recorder = Recorder()

    for _ in range(2):
        run = recorder.begin("job", steps=4)
        recorder.add(record(make_call))
        recorder.end(run, "finished")

    assert [run.number for run in recorder.runs] == [1, 2]
    assert [number for number, _ in recorder.snapshot().calls] == [1, 2]


def test_a_new_job_starts_empty(make_call):
    recorder = Recorder(limit=1)
    recorder.begin("first")
    recorder.add(record(make_call))
    recorder.add(record(make_call))

    recorder.begin("second")

    snapshot = recorder.snapshot()
    assert (len(snapshot.runs), snapshot.calls, snapshot.rows, snapshot.dropped) == (1, (), {}, 0)


def test_runs_outside_a_job_do_not_pile_up(make_call):
    recorder = Recorder()

    recorder.begin(None)
    recorder.begin(None)

    assert len(recorder.runs) == 1


def test_steps_are_timed_from_their_first_forward_on():
    recorder = Recorder()
    run = recorder.begin("job", steps=2)

    for step in (0, 0, 1, 1):
        recorder.forward(step)
    recorder.end(run, "interrupted")

    assert (run.forwards, run.state, len(run.step_seconds())) == (4, "interrupted", 2)
    assert abs(sum(run.step_seconds()) - (run.seconds - run.step_starts[0])) < 1e-3


def test_no_call_is_lost_between_threads(make_call):
    recorder = Recorder(limit=500)
    recorder.begin("job")

    def work():
        for _ in range(1000):
            recorder.add(record(make_call))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    snapshot = recorder.snapshot()
    assert (snapshot.counts.total(), snapshot.dropped, len(snapshot.calls)) == (4000, 3500, 500)


def test_the_listener_hears_every_call(make_call):
    heard = []
    recorder = Recorder(listener=lambda: heard.append(1))

    recorder.add(record(make_call))

    assert heard == [1]


def test_a_snapshot_stays_as_it_is_while_calls_go_on(make_call):
    recorder, over = Recorder(limit=200), threading.Event()
    run = recorder.begin("job", 2)

    def work():
        number = 0
        while not over.is_set():
            number += 1
            recorder.add(Record(make_call(), "auto", f"kernel {number % 50}", "forced", "", 0, 0))
            recorder.forward(number % 7)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            snapshot = recorder.snapshot()
            totals = snapshot.counts.total()
            kept = len(snapshot.calls) + snapshot.dropped
            assert totals == kept == sum(row.calls for row in snapshot.rows.values())
            assert snapshot.runs[0].calls == totals
            assert len(snapshot.runs[0].step_seconds()) == len(snapshot.runs[0].step_starts)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    before = recorder.snapshot()
    recorder.end(run, "finished")
    assert before.runs[0].state == "running"


def test_a_call_outside_of_any_run_is_of_the_first_and_what_went_past_the_hook_is_told(make_call):
    recorder = Recorder()
    recorder.add(record(make_call, via="made elsewhere"))

    snapshot = recorder.snapshot()
    assert [number for number, _ in snapshot.calls] == [1]
    assert snapshot.past == {("made elsewhere", "self", "flash"): 1}


def test_what_earlier_runs_come_to_has_their_sums_and_the_highest_peak_of_a_device():
    earlier = Run(1, seconds=2.0, forwards=3, peaks={"cuda:0": 7, "cuda:1": 5})
    for peak in (9, 4):
        earlier.absorb(Run(1, seconds=1.5, forwards=2, peaks={"cuda:0": peak}))

    assert (earlier.number, earlier.seconds, earlier.forwards) == (3, 5.0, 7)
    assert earlier.peaks == {"cuda:0": 9, "cuda:1": 5}


def test_a_step_takes_from_its_beginning_to_that_of_the_next_or_to_the_end():
    run = Run(1, seconds=9.0, step_starts={1: 4.5, 0: 1.0, 2: 6.0})

    assert run.step_seconds() == [3.5, 1.5, 3.0]
