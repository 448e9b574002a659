"""Attention Benchmark: what it gives, what it keeps for auto, and what it says to bad input."""

import dataclasses
import json
import math
from types import SimpleNamespace

import pytest
import torch
from wanattn.tests.host.graph import Graph
from wanattn.tests.host.sampling import sample

SMALL = {"width": 64, "height": 64, "frames": "5", "backends": "", "repeat": 2, "measure_again": 0}
TOKENS = 32  # of 64x64, 5 frames: 2 latent frames of 4x4 patches


def bench(workbench, model, at="40", **changes):
    text, image = workbench.run("WanAttnBenchmark", at, model=model, **{**SMALL, **changes})
    return SimpleNamespace(text=text, image=image)


def add(graph: Graph, model, **changes):
    return graph.add("WanAttnBenchmark", model=model, **{**SMALL, **changes})


@pytest.fixture
def timings(load, monkeypatch):
    """The timings of the CPU, empty before and after; however busy this machine is, they leave no doubt."""
    from wanattn.nodes.host import measuring
    from wanattn.nodes.host.patch import timings_of

    monkeypatch.setattr(measuring, "UNEVEN", math.inf)
    monkeypatch.setattr(measuring, "CLOSE", 0.0)
    timings_of.cache_clear()
    kept = timings_of("cpu")
    kept.path.unlink(missing_ok=True)
    yield kept
    kept.path.unlink(missing_ok=True)
    timings_of.cache_clear()


def on_disk(timings):
    (machine,) = json.loads(timings.path.read_text(encoding="utf-8"))["machines"].values()
    return machine


def test_text_and_picture_come_out(workbench, load, timings):
    made = bench(workbench, load("t2v"))

    assert "self 32 " in made.text and "text 32 x 512" in made.text
    assert "float32" in made.text and "64x64, 5 frames" in made.text
    for name in ("host", "flash", "math"):
        assert f" {name} " in made.text
    assert made.image.ndim == 4 and made.image.shape[0] == 1 and made.image.shape[3] == 3
    assert made.image.dtype == torch.float32
    assert 0 <= made.image.min() < made.image.max() <= 1


def test_several_lengths_are_several_places(workbench, load, timings):
    text = bench(workbench, load("t2v"), frames="5, 9", backends="flash,math").text

    assert "self 32 " in text and "self 48 " in text
    assert "kept for auto of Attention Backend: flash, math" in text
    assert "baseline" in text and " host " not in text


def test_tokens_are_those_of_the_model_s_own_patches(workbench, load, timings):
    """The 5B model makes one token of 32x32 pixels."""
    text = bench(workbench, load("ti2v_5b"), backends="flash").text

    assert "self 8 " in text
    odd = bench(workbench, load("ti2v_5b"), width=80, backends="flash")
    assert "self 12 " in odd.text  # 2.5 tokens wide, filled up to 3


def test_auto_goes_by_what_was_measured(workbench, load, timings):
    model = load("t2v")
    bench(workbench, model)
    before = on_disk(timings)
    assert [set(known) for known in before.values()] == [{"flash", "math"}] * 2

    patched = workbench.backend(model, "auto")
    sample(patched, steps=1, cfg=1.0, latent=torch.zeros(1, 16, 2, 8, 8))
    report = workbench.report(patched)

    assert on_disk(timings) == before  # nothing was measured again
    assert {row["q_len"] for row in report.payload["rows"]} == {TOKENS}
    for key, known in before.items():
        fastest = min(known, key=lambda name: known[name]["milliseconds"])
        role = "text" if "x512 " in key else "self"
        assert report.counts("role", "active")[role, fastest] == 2
        milliseconds = known[fastest]["milliseconds"]
        assert any(f"{fastest} {milliseconds:.3g} ms" in note for note in report.payload["notes"])


def results_of(cell, **times):
    """As a race leaves them."""
    from wanattn.attention.backends import BACKENDS
    from wanattn.bench.results.row import Results

    rows = [dataclasses.replace(cell.row(BACKENDS[name]), times=t) for name, t in times.items()]
    return Results("kernels", {}, "flash", rows)


@pytest.fixture
def cell(load):
    from wanattn.attention.wan import Video
    from wanattn.bench.race.case import cells_of
    from wanattn.nodes.host.measuring import variant_of

    return cells_of(variant_of(load("t2v")), [Video(64, 64, 5)], torch.float32, "cpu")[0]


STEADY, SLOWER = [1.0, 1.01, 1.02], [2.0, 2.02, 2.04]
PLACE = "self 32 tokens, 5 frames"


@pytest.mark.parametrize(
    ("times", "doubt"),
    [
        ({"flash": STEADY, "math": [2.0, 2.0, 2.6]}, "times vary by more than 20 % (math)"),
        (
            {"flash": STEADY, "math": [1.08, 1.09, 1.1]},
            "flash and math are within 10 % of each other",
        ),
        ({"flash": STEADY, "sub_quad": SLOWER}, "math was not measured"),
    ],
)
def test_places_in_doubt_are_left_for_auto_to_measure(timings, cell, monkeypatch, times, doubt):
    from wanattn.nodes.host import measuring

    monkeypatch.undo()
    results = results_of(cell, **times)

    assert not measuring.keep([cell], results)
    assert not timings.path.exists()
    assert results.notes == [f"left for auto to measure by itself, since {doubt}: {PLACE}"]


def test_a_clear_lead_is_kept_for_auto(timings, cell, monkeypatch):
    from wanattn.nodes.host import measuring

    monkeypatch.undo()
    results = results_of(cell, flash=STEADY, math=SLOWER)

    place = results.rows[0].place
    assert measuring.keep([cell], results) == [(place, "flash"), (place, "math")]
    assert [set(known) for known in on_disk(timings).values()] == [{"flash", "math"}]
    assert results.notes == ["kept for auto of Attention Backend: flash, math"]


def test_a_place_where_only_an_approximate_kernel_ran_is_kept(timings, cell, monkeypatch):
    from wanattn.attention.backends import BACKENDS
    from wanattn.nodes.host import measuring

    rough = dataclasses.replace(BACKENDS["math"], name="rough", exact=False)
    for name, made in (("rough", rough), ("flash", BACKENDS["flash"])):
        monkeypatch.setitem(BACKENDS, name, made)
    monkeypatch.setattr(measuring, "eligible", lambda *given: [BACKENDS["flash"], rough])
    results = results_of(cell, rough=STEADY)
    results.rows.append(dataclasses.replace(cell.row(BACKENDS["flash"]), reason="broken"))

    assert measuring.keep([cell], results) == [(results.rows[0].place, "rough")]


def test_an_approximate_kernel_close_to_an_exact_one_is_a_doubt_too(timings, cell, monkeypatch):
    """With `allow approximate` it is among those that `auto` chooses from."""
    from wanattn.attention.backends import BACKENDS
    from wanattn.nodes.host import measuring

    rough = dataclasses.replace(BACKENDS["math"], name="rough", exact=False)
    for name, made in (("rough", rough), ("math", BACKENDS["math"])):
        monkeypatch.setitem(BACKENDS, name, made)
    everything = [BACKENDS[name] for name in ("flash", "math", "rough")]
    monkeypatch.setattr(measuring, "CLOSE", 1.1)
    monkeypatch.setattr(measuring, "eligible", lambda *given: everything)
    results = results_of(cell, flash=STEADY, math=SLOWER, rough=[0.98, 0.99])

    assert not measuring.keep([cell], results)
    assert results.notes[0].startswith("left for auto to measure by itself, since rough and flash")


def test_times_that_cannot_be_written_are_kept_for_this_session(timings, cell):
    from wanattn.nodes.host import measuring

    timings.path.parent.mkdir(parents=True, exist_ok=True)
    timings.path.mkdir()
    try:
        results = results_of(cell, flash=[1.0, 1.1], math=[2.0, 2.1])
        measuring.keep([cell], results)
    finally:
        timings.path.rmdir()

    assert timings.read(cell.call)["flash"].milliseconds == 1.05
    (note,) = results.notes
    assert note.endswith(
        "until ComfyUI ends, since timings.json cannot be written (see the log): flash, math"
    )


def test_a_damaged_file_of_timings_is_set_aside(workbench, load, timings):
    timings.path.parent.mkdir(parents=True, exist_ok=True)
    timings.path.write_text("{", encoding="utf-8")

    text = bench(workbench, load("t2v")).text

    assert "kept for auto of Attention Backend: flash, math" in text
    assert [set(known) for known in on_disk(timings).values()] == [{"flash", "math"}] * 2
    for aside in timings.path.parent.glob("*.damaged-*"):
        aside.unlink()


def test_a_backend_outside_auto_is_not_kept(workbench, load, timings):
    text = bench(workbench, load("t2v"), backends="host,sub_quad").text

    assert "sub_quad" in text and "kept for auto" not in text
    assert not timings.path.exists()


def test_the_host_s_own_choice_is_measured_as_it_runs(workbench, load, timings):
    text = bench(workbench, load("t2v"), backends="host,math").text

    lines = [line.split("|")[2:4] for line in text.splitlines() if "| host " in line]
    assert [[cell.strip() for cell in line] for line in lines] == [["host", "flash"]] * 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 100}, "width 100, needs a multiple of 16"),
        ({"frames": "80"}, "frames 80, needs 4n+1 such as 25, 49 or 81"),
        ({"frames": "81,"}, "frames '81,', needs numbers separated by commas such as 25,49,81"),
        ({"frames": "many"}, "frames 'many', needs numbers separated by commas such as 25,49,81"),
        ({"backends": "flash,sage9"}, "unknown backend 'sage9'; expected one of "),
    ],
)
def test_bad_input_is_a_sentence(workbench, load, timings, changes, sentence):
    """Typed in, it is refused before anything runs; wired, it costs no video."""
    node = workbench.nodes["WanAttnBenchmark"]
    inputs = {**SMALL, **changes}
    typed = {name: inputs[name] for name in ("width", "height", "frames", "backends")}
    made = bench(workbench, load("t2v"), **changes)

    assert node.validate_inputs(**typed).startswith(sentence)
    assert made.text.startswith(sentence)
    assert made.image.shape[0] == 1
    assert node.validate_inputs(**{name: SMALL[name] for name in typed}) is True
    assert node.validate_inputs() is True


def test_names_may_be_written_large(workbench, load, timings):
    text = bench(workbench, load("t2v"), backends=" Flash , MATH").text

    assert "kept for auto of Attention Backend: flash, math" in text


def test_what_does_not_fit_the_memory_is_left_out_before_it_is_made(
    workbench, load, timings, monkeypatch
):
    """On a CPU the system would end ComfyUI, and the video with it."""
    from wanattn.bench.race import rounds as heat

    monkeypatch.setattr(heat, "free_memory", lambda device: 3 * 4 * 2 * 128 * 4 * 48)
    text = bench(workbench, load("t2v"), frames="5,9,13", backends="flash").text
    assert "self 32 " in text and "self 48 " in text and "self 64 " not in text
    assert "flash: q, k, v, the output and copies of them need" in text

    monkeypatch.setattr(heat, "free_memory", lambda device: 2**10)
    text = bench(workbench, load("t2v"), backends="flash").text
    assert "Nothing could be measured" in text


def test_a_sentence_quotes_little_of_what_was_wired_in(workbench, load, timings):
    made = bench(workbench, load("t2v"), backends="x" * 10**6)

    assert made.text.startswith("unknown backend 'xxx") and len(made.text) < 1100
    assert made.image.shape[2] < 10_000


@pytest.mark.parametrize(
    "error", [RuntimeError(), KeyError("gone"), RuntimeError("gone\nat line 1")]
)
@pytest.mark.parametrize("place", ["environment_of", "measure", "table.text"])
def test_our_own_failures_lose_no_video(workbench, load, timings, monkeypatch, place, error):
    from wanattn.nodes import benchmark

    def fail(*given, **named):
        raise error

    holder, _, name = place.rpartition(".")
    monkeypatch.setattr(getattr(benchmark, holder) if holder else benchmark, name, fail)
    made = bench(workbench, load("t2v"), backends="flash")

    kind = type(error).__name__
    assert made.text == "gone" or made.text.startswith(f"The benchmark failed ({kind}: ")
    assert made.image.ndim == 4


def test_a_model_that_is_not_wan_is_told_so(workbench, unet, timings):
    made = bench(workbench, unet)

    assert made.text.startswith("Attention Benchmark knows the shapes of Wan models only")
    assert "BaseModel" in made.text and "Attention Diagnostics" in made.text
    assert made.image.ndim == 4


def test_the_model_is_left_as_it_was(workbench, load, timings):
    model = load("t2v")
    options, before = repr(model.model_options), sample(model, steps=1)
    bench(workbench, model)

    assert repr(model.model_options) == options
    assert torch.equal(sample(model, steps=1), before)
