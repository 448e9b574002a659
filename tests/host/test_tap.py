"""A tap from the start of a sampler run to its end, told of it step by step in place of a sampler."""

from __future__ import annotations

import logging
import weakref
from types import SimpleNamespace

import pytest
import torch
from wanattn.attention.call import Call
from wanattn.attention.choose.policy import Policy
from wanattn.attention.record.record import Record
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward

CPU = [torch.device("cpu")]
CALL = Call("self", 1, 2, 64, 64, 128, torch.float32)


class Listening(Dispatcher):
    """Notes when it is reset and when a forward ends."""

    def __init__(self, backend="flash", **named):
        self.came = []
        super().__init__(Policy(backend), **named)

    def reset(self, steps=0, devices=()):
        self.came.append(("reset", steps, [*devices]))
        super().reset(steps, devices)

    def end_forward(self, wait=False):
        self.came.append(("end", wait))
        super().end_forward(wait)


def same(text):
    """An equal text that is another object, as jobs have it that come from JSON."""
    return "".join([*text])


@pytest.fixture
def host(comfy, tmp_path, monkeypatch):
    """What the tap asks of the rest: files that reports wait for, peaks of memory, the page."""
    from wanattn.nodes.host import tap

    host = SimpleNamespace(waiting=[], written=[], counted=[], error=None)

    def write_unfinished(facts, snapshot, job, reported):
        if host.error:
            raise host.error
        host.written.append((facts.node, facts.notes, job, len(snapshot.runs)))

    def start_peaks(devices):
        host.counted.append([*devices])
        return [torch.device("cuda")]

    monkeypatch.setattr(tap.Tap, "_living", weakref.WeakSet())  # those of other tests
    monkeypatch.setattr(tap, "write_unfinished", write_unfinished)
    monkeypatch.setattr(tap, "waiting_prefixes", lambda node, job, reported: host.waiting)
    monkeypatch.setattr(tap, "start_peaks", start_peaks)
    monkeypatch.setattr(tap, "peaks", lambda devices: {str(device): 1.0 for device in devices})
    return host


@pytest.fixture
def tap(host, monkeypatch):
    """Makes a tap that counts how often it showed and dropped its state."""
    from wanattn.nodes.host.tap import Tap

    def make(node="10", dispatcher=None, proof="", capture=None):
        tap = Tap(node, dispatcher, proof, capture)
        tap.shown, tap.dropped = [], []
        monkeypatch.setattr(tap.display, "show", lambda: tap.shown.append("show"))
        monkeypatch.setattr(tap.display, "tick", lambda: tap.shown.append("tick"))
        monkeypatch.setattr(tap.remains, "drop", lambda: tap.dropped.append(1))
        return tap

    return make


def start(tap, job="prompt", steps=2, devices=CPU):
    from comfy_execution.utils import CurrentNodeContext

    if job is None:
        tap._start(steps, devices)
        return
    with CurrentNodeContext(job, "sampler", 0):
        tap._start(steps, devices)


def states(tap):
    return [run.state for run in tap.recorder.runs]


def test_the_page_is_kept_current_from_the_start_of_a_run_to_its_end(tap):
    one = tap()
    one._tick()
    assert one.shown == []

    start(one)
    one._tick()
    one._stop("finished")
    assert one.shown == ["show", "tick", "show"]
    one._tick()
    assert one.shown == ["show", "tick", "show"]


def test_both_dispatchers_are_told_of_the_run_and_wait_for_the_device_only_at_its_end(tap):
    chosen = Listening()
    one = tap(dispatcher=chosen)
    one._watch.dispatcher = watching = Listening("host", watches=True)

    start(one, steps=7)
    one._end_forward()
    one._stop("finished")

    assert chosen.came == watching.came == [("reset", 7, CPU), ("end", False), ("end", True)]


def test_each_run_of_a_job_ends_with_its_own_state_and_its_own_peak(tap):
    one = tap()
    for state in ("finished", "interrupted", "failed"):
        start(one, same("job"))
        one.recorder.add(Record(CALL, "flash", "flash", "forced"))
        one._stop(state)

    assert states(one) == ["finished", "interrupted", "failed"]
    assert [run.peaks for run in one.recorder.runs] == [{"cuda": 1.0}] * 3
    assert one.text() == "flash 3/3 calls (failed)"
    payload, text = one._shown()
    assert payload["state"] == "failed" and text == one.text(one.recorder.snapshot())


def test_a_tap_without_a_run_has_nothing_to_say_on_the_node(tap):
    payload, text = tap()._shown()

    assert (payload["runs"], text) == ([], "")
    assert tap().text() == "no attention call yet"


def test_only_the_first_model_of_a_run_counts_the_peak(tap, host):
    one, visitor = tap(), tap("11")
    visitor._visits = True
    for each in (one, visitor):
        start(each, devices=CPU * 2)
        each._stop("finished")

    assert host.counted == [CPU * 2]
    assert one.recorder.runs[0].peaks == {"cuda": 1.0} and visitor.recorder.runs[0].peaks == {}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("job", "job", True),
        ("a", "b", False),
        ("b", "a", False),
        (None, None, False),
        ("a", None, False),
        (None, "a", False),
    ],
)
def test_warnings_and_finished_reports_are_those_of_the_job(tap, first, second, kept):
    one = tap(dispatcher=Listening())
    start(one, first)
    one.dispatcher.warnings.append("flash: output not finite")
    one._watch.dispatcher.warnings.append("host: output not finite")
    one.reported.add("30")
    one._stop("finished")
    start(one, second and same(second))

    told = [f"sampler run 1: {name}: output not finite" for name in ("flash", "host")]
    assert one.notes() == (told if kept else [])
    assert one.reported == ({"30"} if kept else set())


def override_of(tap, previous=None):
    from wanattn.nodes.host.override import Override

    tap.override = Override(tap.recorder, previous, tap.dispatcher)
    return tap.override


@pytest.mark.parametrize(
    ("backend", "proof", "wish", "found"),
    [
        ("flash", "", "flash", "sample"),
        ("host", "every", "math", "every"),
        (None, "every", "math", "every"),
        (None, "", "math", "sample"),
    ],
)
def test_a_forward_is_told_what_the_node_asks_for_and_keeps_what_others_asked_for(
    tap, backend, proof, wish, found
):
    one = tap(dispatcher=backend and Listening(backend), proof=proof)
    start(one)
    forward = Forward(step=1, wish="math", proof="sample")
    one._join(forward, None)

    assert (forward.wish, forward.proof) == (wish, found)
    assert forward.recorders == [one.recorder] and forward.captures == []
    assert one.recorder.runs[0].forwards == 1


def halved_attention(func, *args, **kwargs):
    return func(*args, **kwargs) * 0.5


HALVED = "test_tap.halved_attention"


@pytest.mark.parametrize(
    ("backend", "previous", "slot", "notes"),
    [
        ("flash", False, "own", []),
        ("flash", True, "own", [f"replaced the override {HALVED}"]),
        ("host", True, "own", [f"calls go through the override {HALVED}"]),
        ("host", False, "own", []),
        ("flash", False, "other", [f"{HALVED} was wired after this node and is asked first"]),
        ("flash", False, None, ["something after this node took its attention off the model"]),
    ],
)
def test_what_another_override_means_for_the_node(tap, backend, previous, slot, notes):
    one = tap(dispatcher=Listening(backend))
    own = override_of(one, halved_attention if previous else None)
    start(one)
    one._join(Forward(), {"own": own, "other": halved_attention}.get(slot))

    assert one.notes() == notes


def test_an_override_is_named_that_gets_the_calls_which_rules_leave_to_the_host(tap):
    from wanattn.attention.choose.rules import Rule

    rules = (Rule.parse("text", "", "", "host"),)
    one = tap(dispatcher=Listening("flash", rules=rules))
    own = override_of(one, halved_attention)
    one._join(Forward(), own)

    assert one.notes() == [f"calls left to the host go through the override {HALVED}"]


def test_a_node_that_watches_names_the_override_that_runs_the_calls(tap):
    one = tap()
    one._watch.previous = halved_attention
    assert one.notes() == [f"calls go through the override {HALVED}"]

    both = tap(dispatcher=Listening("host"))
    override_of(both, override_of(tap(dispatcher=Listening()), halved_attention))
    assert both.notes() == []  # another of our nodes


@pytest.fixture
def chained(tap, unet):
    """Taps on one model, the most upstream first."""

    def chained(*nodes, **named):
        from wanattn.nodes.host.tap import taps

        model = unet.clone()
        assert taps(model) == ()
        made = [tap(node, **named) for node in nodes]
        for each in made:
            each.attach(model)
        assert list(taps(model)) == made
        return made

    return chained


def test_the_first_tap_of_a_model_times_the_calls_for_all(chained):
    first, *later = chained("1", "2", "3")

    assert all(each.recorder.stopwatch is first.recorder.stopwatch for each in later)
    assert chained("4")[0].recorder.stopwatch is not first.recorder.stopwatch


@pytest.mark.parametrize("state", ["finished", "failed", "interrupted"])
@pytest.mark.parametrize("visits", [False, True])
def test_the_first_tap_writes_the_reports_of_a_job_that_ends_early(chained, host, state, visits):
    first, second = chained("1", "2")
    (other,), (earlier,), (later,) = chained("3"), chained("4"), chained("5")
    for each, job in ((other, "job m"), (earlier, "job a"), (later, "job z")):
        start(each, job)
        each._stop("finished")
    for each in (first, second):
        start(each, same("job m"))
        each._visits = visits
    for each in (first, second, other, earlier, later):
        each.dropped.clear()

    second._stop(same(state))
    assert host.written == []
    first._stop(same(state))

    early = state != "finished" and not visits
    written = sorted((node, job, runs) for node, _, job, runs in host.written)
    assert written == [(node, "job m", 1) for node in "123"] * early
    assert [len(each.dropped) for each in (other, earlier, later)] == [int(early), 0, 0]


@pytest.mark.parametrize(("waiting", "dropped"), [([], 1), (["wanattn/report"], 0)])
def test_the_state_on_disk_goes_where_no_report_waits_for_it(tap, host, waiting, dropped):
    host.waiting = waiting
    one = tap()
    start(one)
    one._stop("finished")

    assert len(one.dropped) == dropped


def test_a_report_that_fails_is_in_the_log_and_ends_no_run(chained, host, caplog):
    (one,) = chained("1")
    host.error = ArithmeticError("of the test")
    start(one, "job x")
    with caplog.at_level(logging.ERROR, "wanattn"):
        one._stop("failed")

    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert told.getMessage() == "the report of the run failed" and told.exc_info[1] is host.error
    assert states(one) == ["failed"]


@pytest.mark.parametrize(
    ("job", "ahead", "notes"),
    [
        ("job m", "", ["own", "left", "watched"]),
        ("job m", "someone is asked first", ["own", "watched"]),
        ("job a", "", ["own"]),
        ("job z", "", ["own"]),
    ],
)
def test_a_report_tells_what_the_nodes_upstream_found_in_the_same_job(chained, job, ahead, notes):
    """Of one that others were asked before only what it saw, not that it was passed over."""
    first, last = chained("1", "2", dispatcher=Listening("host"))
    first.dispatcher, last.dispatcher = Listening("host"), Listening("host")
    start(first, same(job))
    start(last, "job m")
    first.dispatcher.notes.append("left")
    first._watch.dispatcher.notes.append("watched")
    last.dispatcher.notes += ["own", "own"]
    first._ahead = ahead
    last._ahead = "the last is passed over"

    told = last.all_notes()
    assert told[-1] == "the last is passed over"
    assert sorted(told[:-1]) == sorted(notes)
    assert [note for note in first.all_notes() if note == ahead] == [ahead] * bool(ahead)
