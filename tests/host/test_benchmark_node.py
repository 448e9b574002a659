"""Attention Benchmark: what it gives, what it keeps for auto, and what it says to bad input."""

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
    from wanattn.bench.race import keep
    from wanattn.nodes.host.patch import timings_of

    monkeypatch.setattr(keep, "UNEVEN", math.inf)
    monkeypatch.setattr(keep, "CLOSE", 0.0)
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
    from wanattn.bench.race import rounds

    monkeypatch.setattr(rounds, "free_memory", lambda device: 3 * 4 * 2 * 128 * 4 * 48)
    text = bench(workbench, load("t2v"), frames="5,9,13", backends="flash").text
    assert "self 32 " in text and "self 48 " in text and "self 64 " not in text
    assert "flash: q, k, v, the output and copies of them need" in text

    monkeypatch.setattr(rounds, "free_memory", lambda device: 2**10)
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
