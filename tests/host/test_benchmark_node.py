"""Attention Benchmark: what it gives, what it keeps for auto, how it ends, and its panel on the real page."""

import json
from types import SimpleNamespace

import pytest
import torch
from wanattn.tests.host.graph import Graph
from wanattn.tests.host.listener import Listener
from wanattn.tests.host.sampling import sample
from wanattn.tests.host.server import wait_until

SMALL = {"width": 64, "height": 64, "frames": "5", "backends": "", "repeat": 2, "measure_again": 0}
TOKENS = 32  # of 64x64, 5 frames: 2 latent frames of 4x4 patches


def bench(workbench, model, at="40", **changes):
    text, image = workbench.run("WanAttnBenchmark", at, model=model, **{**SMALL, **changes})
    return SimpleNamespace(text=text, image=image)


def add(graph: Graph, model, **changes):
    return graph.add("WanAttnBenchmark", model=model, **{**SMALL, **changes})


@pytest.fixture
def timings(load):
    """The timings of the CPU, empty before and after."""
    from wanattn.nodes.backend import timings_of

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
    assert odd.text.startswith("width 80, needs a multiple of 32")


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


def payloads_of(listener, node):
    """What the page was told, oldest first."""
    told = [event["data"] for event in listener.events if event["type"] == "wanattn.bench"]
    return [payload for payload in told if payload["node"] == node]


def timed(payload):
    rows = [row for place in payload["places"] for row in place["rows"]]
    return {row["backend"] for row in rows if row["ms"] is not None}


@pytest.fixture(scope="module")
def run(server):
    """One benchmark on a server, alone in its graph; what it told the page and left in the history."""
    graph = Graph()
    add(graph, graph.load("high_noise"), measure_again=1)
    with Listener(server.address, "tests") as listener:
        outputs = server.run(graph, listener)
    return SimpleNamespace(listener=listener, outputs=outputs["2"])


def test_the_history_keeps_text_and_payload(run):
    (text,), (payload,) = run.outputs["text"], run.outputs["wanattn"]

    assert "self 32 " in text
    assert payload["schema"] == 1 and payload["node"] == "2" and payload["state"] == "finished"
    assert payload["baseline"] == "host" and payload["answer"] in text
    assert [place["q_len"] for place in payload["places"]] == [TOKENS, TOKENS]
    assert timed(payload) == {"host", "flash", "math"}
    host = payload["places"][0]["rows"][0]
    assert (host["backend"], host["active"], host["speedup"]) == ("host", "sub_quad", 1.0)
    assert payload["environment"]["comfyui"] and payload["environment"]["torch"]


def test_the_page_is_told_while_it_measures(run):
    told = payloads_of(run.listener, "2")
    bar = [event["data"] for event in run.listener.events if event["type"] == "progress"]

    assert told[-1] == run.outputs["wanattn"][0]
    assert {payload["state"] for payload in told[:-1]} == {"running"}
    assert [len(timed(payload)) for payload in told] == sorted(
        len(timed(payload)) for payload in told
    )
    assert bar[-1]["value"] == bar[-1]["max"] and bar[-1]["node"] == "2"


def test_an_unchanged_node_is_not_run_again_until_it_is_asked_to(server, run):
    def queued(number):
        graph = Graph()
        add(graph, graph.load("high_noise"), measure_again=number)
        history = server.wait(server.queue(graph))
        return dict(history["status"]["messages"])["execution_cached"]["nodes"]

    assert "2" in queued(1)
    assert "2" not in queued(2)


def test_an_interrupt_leaves_what_was_measured_on_the_panel(server):
    graph = Graph()
    slow = {"width": 256, "height": 256, "frames": "33,49", "repeat": 50}
    add(graph, graph.load("high_noise"), **slow)
    with Listener(server.address, "tests") as listener:
        prompt_id = server.queue(graph)
        wait_until(lambda: any(map(timed, payloads_of(listener, "2"))), 60, server.log)
        server.post("/interrupt", {})
        history = server.wait(prompt_id)
        listener.settle(prompt_id)

    assert "execution_interrupted" in dict(history["status"]["messages"])
    last = payloads_of(listener, "2")[-1]
    assert last["state"] == "interrupted"
    assert timed(last) and last["answer"]
    assert not any(row["kept"] for place in last["places"] for row in place["rows"])


def test_a_failure_loses_nothing_else_of_the_workflow(server):
    graph = Graph()
    model = graph.load("high_noise")
    length = graph.add("PrimitiveInt", value=80)
    add(graph, model, frames=length)
    graph.save(graph.sample(model, graph.latent()), "beside/latent")
    outputs = server.run(graph)

    node = graph.node("WanAttnBenchmark")
    assert outputs[node]["text"] == ["frames 80, needs 4n+1 such as 25, 49 or 81"]
    assert outputs[node]["wanattn"][0]["state"] == "failed"
    assert server.files("beside/latent", ".latent")


def test_a_number_can_be_wired_to_frames(server):
    graph = Graph()
    length = graph.add("PrimitiveInt", value=9)
    add(graph, graph.load("high_noise"), frames=length, backends="math")
    (text,) = server.run(graph)[graph.node("WanAttnBenchmark")]["text"]

    assert "64x64, 9 frames" in text
