"""What Attention Benchmark tells while it measures, and how it ends, without a measurement."""

from __future__ import annotations

import logging

import pytest

CPU = {"device": "cpu"}


@pytest.fixture
def benchmark(comfy):
    from wanattn.nodes import benchmark

    return benchmark


@pytest.fixture
def results(comfy):
    """Of rows with these times; a row without has a reason if there is one."""
    from wanattn.bench.results.row import Results, Row

    def results(*rows, notes=()):
        made = [
            Row("kernels", name, "self", times=list(times), reason=reason, q_len=8, kv_len=8)
            for name, times, reason in rows
        ]
        return Results("kernels", CPU, "host", rows=made, notes=list(notes))

    return results


@pytest.mark.parametrize(
    ("total", "pieces", "bar"),
    [
        (3.0, [1.0, 1.0, 1.0], [0, 333, 667, 1000]),
        (0.5, [0.25, 0.5], [0, 500, 1000]),
        (0.0, [], [0]),
        (4000.0, [3.0], [0, 1]),
    ],
)
def test_the_bar_grows_with_the_work_that_is_done(
    benchmark, results, monkeypatch, total, pieces, bar
):
    """The host shows as many of these as it likes."""
    import comfy.utils

    shown = []

    class Noted(comfy.utils.ProgressBar):
        def update_absolute(self, value, *args, **kwargs):
            shown.append((value, self.total))

    monkeypatch.setattr(comfy.utils, "ProgressBar", Noted)
    for _ in range(2):  # it begins anew each time
        panel = benchmark.Panel(None, results())
        panel.begin(total)
        for piece in pieces:
            panel.advance(piece, "flash 1/2")

    assert shown == [(value, 1000) for value in bar] * 2


def test_the_panel_tells_what_is_measured_and_then_the_answer(benchmark, results):
    from wanattn.bench.results import table

    found = results(("host", [2.0, 2.0], ""), ("flash", [1.0, 1.0], ""))
    panel = benchmark.Panel("40", found)
    panel.begin(2.0)
    panel.advance(1.0, "flash 1/2")
    running = panel.payload()
    told = {}
    for state in ("finished", "interrupted", "failed"):
        panel.state = state
        told[state] = panel.payload()

    assert (running["node"], running["state"], running["answer"]) == ("40", "running", "flash 1/2")
    answer = table.answer(found)
    assert answer and {state: one["answer"] for state, one in told.items()} == dict.fromkeys(
        told, answer
    )
    assert all(one["state"] == state for state, one in told.items())
    assert running["text"] == table.text(found)


@pytest.mark.parametrize(
    ("rows", "tabled", "answered"),
    [
        ([], False, False),
        ([("flash", [], "")], False, False),
        ([("flash", [], "no room")], True, False),
        ([("flash", [1.0], "")], True, True),
        ([("host", [1.0], ""), ("flash", [], "no room")], True, True),
    ],
)
def test_tables_are_told_as_soon_as_there_is_something_in_them(
    benchmark, results, monkeypatch, rows, tabled, answered
):
    """A picture of the tables stands in for the chart while there is no time to draw."""
    from wanattn.bench.results import table

    monkeypatch.setattr(benchmark, "write_out", lambda text: f"written: {text}")
    monkeypatch.setattr(benchmark.chart, "image", lambda results: "chart")
    found = results(*rows, notes=["a note", "another"])
    panel = benchmark.Panel("40", found)
    panel.state = "finished"

    text = table.text(found) if tabled else "a note\nanother"
    assert panel.text() == panel.payload()["text"] == text
    assert benchmark.picture(panel) == ("chart" if answered else f"written: {text}")
    assert bool(panel.payload()["answer"]) == answered


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("matplotlib"), "The chart needs matplotlib: pip install matplotlib"),
        (ModuleNotFoundError("PIL"), "The chart needs matplotlib: pip install matplotlib"),
        (KeyError("x"), "The chart failed (KeyError)."),
    ],
)
def test_where_there_is_no_chart_the_text_says_why(benchmark, results, monkeypatch, error, said):
    def image(results):
        raise error

    monkeypatch.setattr(benchmark, "write_out", lambda text: text)
    monkeypatch.setattr(benchmark.chart, "image", image)
    panel = benchmark.Panel(None, results(("flash", [1.0], "")))

    assert benchmark.picture(panel) == f"{panel.text()}\n\n{said}"


@pytest.mark.parametrize(
    ("error", "words", "level"),
    [
        (RuntimeError("gone\nat line 1"), "gone", "WARNING"),
        (ValueError("  width 1, needs 16  "), "width 1, needs 16", "WARNING"),
        (FileNotFoundError("no file"), "no file", "WARNING"),
        (RuntimeError("x" * 999), "x" * 999, "WARNING"),
        (RuntimeError("x" * 1000), "x" * 1000, "WARNING"),
        (RuntimeError("x" * 1001), f"{'x' * 1000} ...", "WARNING"),
        (RuntimeError("x" * 1002), f"{'x' * 1000} ...", "WARNING"),
        (
            RuntimeError("\n"),
            "The benchmark failed (RuntimeError: ); the log has more.",
            "ERROR",
        ),
        (KeyError("gone"), "The benchmark failed (KeyError: 'gone'); the log has more.", "ERROR"),
    ],
)
def test_an_ending_is_one_sentence(benchmark, caplog, error, words, level):
    caplog.set_level(logging.INFO, logger="wanattn")

    assert benchmark.sentence(error) == words
    assert [record.levelname for record in caplog.records] == [level]


@pytest.fixture
def ending(benchmark, monkeypatch):
    """Runs a benchmark that ends so; gives what came out of it and the panel as it was last shown."""
    shown = []

    def ending(end):
        def measure(model, wish, results, panel):
            return end()

        def show(panel):
            shown.append((panel.state, panel.results.finished, list(panel.results.notes)))

        monkeypatch.setattr(benchmark, "environment_of", lambda model: CPU)
        monkeypatch.setattr(benchmark, "measure", measure)
        monkeypatch.setattr(benchmark.Panel, "show", show)
        inputs = (64, 64, "5", "", 2, 0)
        try:
            return benchmark.run(None, inputs, "40"), shown
        except BaseException as error:
            return error, shown

    return ending


def test_a_benchmark_that_comes_to_its_end_is_finished(ending):
    (_, _, payload), shown = ending(lambda: [])

    assert (payload["state"], payload["node"], shown) == (
        "finished",
        "40",
        [("finished", True, [])],
    )


def test_an_interrupt_goes_through_and_is_told(benchmark, ending):
    def end():
        raise benchmark.InterruptProcessingException

    error, shown = ending(end)
    assert isinstance(error, benchmark.InterruptProcessingException)
    assert shown == [("interrupted", False, [])]


def test_what_fails_is_told_and_ends_nothing_else(ending):
    def end():
        raise RuntimeError("no room")

    (text, image, payload), shown = ending(end)
    assert text == "no room" and image.shape[0] == 1
    assert (payload["state"], payload["notes"]) == ("failed", ["no room"])
    assert shown == [("failed", False, ["no room"])]


def test_the_benchmark_is_asked_for_a_video_and_ends_a_graph(workbench):
    """It runs again where an equal node has run."""
    schema = workbench.nodes["WanAttnBenchmark"].GET_SCHEMA()

    assert (schema.not_idempotent, schema.is_output_node) == (True, True)
    assert workbench.asked("WanAttnBenchmark") == {
        "model": ("required", {}),
        "width": ("required", {"default": 832, "min": 16, "max": 8192, "step": 16}),
        "height": ("required", {"default": 480, "min": 16, "max": 8192, "step": 16}),
        "frames": ("required", {"default": "81"}),
        "backends": ("required", {"default": ""}),
        "repeat": ("required", {"default": 5, "min": 2, "max": 50}),
        "measure_again": ("required", {"default": 0, "min": 0, "max": 2147483647}),
    }
