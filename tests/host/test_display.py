"""How a node of the page is kept up to date, and that its trouble is nobody else's."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
from wanattn.tests.host.sampling import sample


@pytest.fixture
def sent(comfy, monkeypatch):
    """A server that keeps what it is told to send."""
    from server import PromptServer

    events = []
    server = SimpleNamespace(
        send_progress_text=lambda text, node: events.append((node, text)),
        send_sync=lambda event, payload: events.append((event, payload)),
    )
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    return events


@pytest.fixture
def clock(comfy, monkeypatch):
    from wanattn.nodes.host.report import display

    now = [1000.0]
    monkeypatch.setattr(display.time, "perf_counter", lambda: now[0])
    return now


def test_a_node_is_shown_at_most_five_times_a_second(sent, clock):
    from wanattn.nodes.host.report.display import Display

    display = Display("7", "event", lambda: ({"calls": 1}, ""))
    for _ in range(1000):
        display.tick()
        clock[0] += 0.001

    assert len(sent) == 5


def test_showing_takes_at_most_a_hundredth_of_the_time(sent, clock):
    from wanattn.nodes.host.report.display import Display

    def slow():
        clock[0] += 0.05
        return {}, ""

    display = Display("7", "event", slow)
    for _ in range(20_000):
        display.tick()
        clock[0] += 0.001

    assert len(sent) == 5  # at once, then after every 5 s of work


def test_after_a_show_the_next_waits_a_hundred_times_as_long_as_it_took(sent, clock):
    from wanattn.nodes.host.report.display import Display

    def slow():
        clock[0] += 1 / 128
        return {}, ""

    display, shown = Display("7", "event", slow), []
    for moment in (0.0, 100 / 128 - 1e-9, 100 / 128):
        clock[0] = moment
        display.tick()
        shown.append(len(sent))

    assert shown == [1, 1, 2]


def test_while_one_thread_shows_no_other_does_for_a_fifth_of_a_second(sent, clock):
    from wanattn.nodes.host.report.display import Display

    clock[0], shown = 0.0, []

    def content():
        if not shown:
            for later in (0.0, 0.125, 0.2):
                clock[0] = later
                shown.append(later)
                display.tick()
        return {"at": clock[0]}, ""

    display = Display("7", "event", content)
    display.tick()

    assert sent == [("event", {"at": 0.2})] * 2 and shown == [0.0, 0.125, 0.2]


@pytest.mark.parametrize("node", [None, "7"])
def test_nothing_is_made_up_where_nobody_would_see_it(comfy, monkeypatch, node):
    from server import PromptServer
    from wanattn.nodes.host.report.display import Display

    server = SimpleNamespace() if node is None else None
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)

    Display(node, "event", lambda: pytest.fail("made up for nobody")).show()


def test_text_comes_without_what_the_page_takes_for_a_tag(sent):
    from wanattn.nodes.host.report.display import Display

    Display("7", "event", lambda: ({}, "<b>")).show()

    assert sent == [("7", "\u2039b\u203a"), ("event", {})]


def test_trouble_with_the_page_ends_no_run(sent, load, workbench, monkeypatch, caplog):
    from server import PromptServer

    def broken(event, payload):
        raise ConnectionError("the page is gone")

    monkeypatch.setattr(PromptServer.instance, "send_sync", broken)
    patched = workbench.diagnostics(load("t2v"))

    assert sample(patched).isfinite().all()
    assert any("could not be brought up to date" in message for message in caplog.messages)


def test_a_run_that_is_over_keeps_no_model(load, workbench):
    from wanattn.nodes.host.tap import taps

    patched = workbench.diagnostics(load("t2v"))
    sampled = patched.clone()
    (tap,) = taps(sampled)
    gone = weakref.ref(sampled)

    sample(sampled)
    del sampled
    gc.collect()

    assert gone() is None and tap.recorder.runs


def test_the_slot_is_put_back_after_every_forward(load, workbench):
    from comfy.patcher_extension import WrappersMP

    def attend(func, *args, **kwargs):
        return func(*args, **kwargs)

    found = []

    def outside(
        executor, x, t, c_concat=None, c_crossattn=None, control=None, options=None, **rest
    ):
        result = executor(x, t, c_concat, c_crossattn, control, options, **rest)
        found.append((options.get("optimized_attention_override"), "wanattn" in options))
        return result

    model = load("t2v").clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "another pack", outside)
    model.model_options["transformer_options"]["optimized_attention_override"] = attend
    sample(workbench.diagnostics(model))

    assert found == [(attend, False)] * 2


def test_options_with_our_nodes_in_them_can_be_copied_deeply(load, workbench):
    """As packs do that change the options of a pre-CFG function."""
    import copy

    both = workbench.diagnostics(workbench.backend(load("t2v"), "math")).clone()
    copied = []

    def pre_cfg(arguments):
        copied.append(copy.deepcopy(arguments["model_options"]))
        return arguments["conds_out"]

    both.set_model_sampler_pre_cfg_function(pre_cfg)

    assert sample(both).isfinite().all() and copied
    assert workbench.report(both).payload["totals"] == {"math": 8}
