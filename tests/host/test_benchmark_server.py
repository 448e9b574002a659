"""Attention Benchmark on a server: its panel while it measures, its history, its endings."""

from types import SimpleNamespace

import pytest
from wanattn.tests.host.graph import Graph
from wanattn.tests.host.listener import Listener
from wanattn.tests.host.server import wait_until
from wanattn.tests.host.test_benchmark_node import TOKENS, add


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
