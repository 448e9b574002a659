"""The report of Raylight's ranks, with real models and no Ray: what the node gives, writes and puts into the metadata."""

from __future__ import annotations

import sys

import pytest
from wanattn.tests.host.local_actors import Actor, Ray
from wanattn.tests.host.sampling import CALLS, sample
from wanattn.tests.host.workbench import read_report

PREFIX = "wanattn/ranks"


@pytest.fixture
def bench(workbench, monkeypatch):
    """With the nodes that are there only where Raylight is."""
    from wanattn.nodes.raylight.backend import WanAttnRayBackend
    from wanattn.nodes.raylight.report import WanAttnRayReport

    monkeypatch.setitem(sys.modules, "ray", Ray)
    for node in (WanAttnRayBackend, WanAttnRayReport):
        workbench.nodes[node.GET_SCHEMA().node_id] = node
    return workbench


@pytest.fixture
def actors(bench, load):
    """Two of them behind the node, not sampled yet."""

    def sampled(model, seed):
        return sample(model, seed=seed)

    made = [Actor(str(rank), load("t2v").clone(), sampled) for rank in range(2)]
    inputs = {"backend": "math", "on_refusal": "next best"}
    return bench.run("WanAttnRayBackend", "7", ray_actors={"workers": made}, **inputs)[0]


@pytest.fixture
def sampled(actors):
    """In two sampler calls of one job."""
    from comfy_execution.utils import CurrentNodeContext

    with CurrentNodeContext("job", "8", 0):
        for seed in (1, 2):
            for worker in actors["workers"]:
                Ray.get(worker.common_ksampler.remote(seed))
    return actors


def report(bench, actors, at="9"):
    from comfy_api.latest import io
    from comfy_execution.utils import CurrentNodeContext

    hidden = {io.Hidden.unique_id: at, io.Hidden.extra_pnginfo: bench.extra_pnginfo}
    node = bench.nodes["WanAttnRayReport"].PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    with CurrentNodeContext("job", "9", 0):
        return node.EXECUTE_NORMALIZED(ray_actors=actors, filename_prefix=PREFIX)


def test_a_run_of_two_ranks_is_told_by_rank_and_written(bench, sampled):
    from wanattn.attention.report.text import text_of

    bench.extra_pnginfo["wanattn"] = {"5": {"of": "another node"}}
    output = report(bench, sampled)
    same, text, image = output.result
    found = read_report(bench.output, PREFIX)
    payload = found.payload

    assert same is sampled
    assert (payload["node"], payload["state"], payload["calls"]) == ("9", "finished", 4 * CALLS)
    assert [(run["run"], run["rank"]) for run in payload["runs"]] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    assert {(key, count) for key, count in found.counts("rank", "run", "active").items()} == {
        ((rank, run, "math"), CALLS) for rank in "01" for run in "12"
    }
    names = ", ".join(f"{PREFIX}_00001{suffix}" for suffix in (".json", ".csv", ".html"))
    assert text == f"{text_of(payload)}\nwritten: {names}"
    assert output.ui["text"] == (text,)
    assert [each["totals"] for each in output.ui["wanattn"]] == [{"math": 4 * CALLS}]
    assert len(output.ui["wanattn_picture"]) == 1 and image.ndim == 4
    told = bench.extra_pnginfo["wanattn"]
    assert told["5"] == {"of": "another node"}
    assert told["9"]["totals"] == {"math": 4 * CALLS}


def test_a_report_that_did_not_come_is_named_with_its_rank_and_sampler_call(bench, sampled):
    session = sampled["wanattn"]
    session.taken[1][1].value = None
    report(bench, sampled)
    payload = read_report(bench.output, PREFIX).payload

    sentence = "its model was replaced while it sampled"
    assert payload["notes"][0] == f"rank 1 gave no report of sampler call 2: {sentence}"
    assert (payload["state"], payload["calls"]) == ("failed", 3 * CALLS)


def test_metadata_of_any_kind_takes_the_summary(bench, sampled):
    from wanattn.nodes.raylight.report import finish

    for before in ({}, {"wanattn": "of a client"}, {"wanattn": {}}):
        metadata = {"workflow": {}, **before}
        text, payload = finish(sampled["wanattn"], PREFIX, None, metadata)

        assert "written: " in text and payload["calls"] == 4 * CALLS
        assert metadata.keys() == {"workflow", "wanattn"}
        assert list(metadata["wanattn"]) == [""]
    for other in (None, "what a client sent"):
        assert "written: " in finish(sampled["wanattn"], PREFIX, "9", other)[0]


def test_nothing_to_report_is_said(bench, actors):
    from wanattn.nodes.raylight.report import NOT_SAMPLED, NOT_WATCHED

    for given, sentence in (({"workers": []}, NOT_WATCHED), (actors, NOT_SAMPLED)):
        output = report(bench, given)
        assert output.result[1] == sentence
        assert (output.ui["text"], output.ui["wanattn"]) == ((sentence,), [])


def test_where_every_report_is_lost_the_text_says_so(bench, sampled):
    for call in sampled["wanattn"].taken:
        for ref in call.values():
            ref.error = RuntimeError("the actor died")
    text = report(bench, sampled).result[1]

    lost = "; ".join(
        f"rank {rank} gave no report of sampler call {call}: RuntimeError: the actor died"
        for call in (1, 2)
        for rank in (0, 1)
    )
    sentence = f"The attention report failed (ValueError: {lost}); the run itself is not affected."
    assert text == sentence


def test_ranks_are_told_in_their_order(bench, actors):
    from comfy_execution.utils import CurrentNodeContext

    with CurrentNodeContext("job", "8", 0):
        for worker in reversed(actors["workers"]):
            worker.common_ksampler.remote(1)
    report(bench, actors)
    runs = read_report(bench.output, PREFIX).payload["runs"]
    assert [run["rank"] for run in runs] == [0, 1]


def test_the_node_is_an_end_of_the_graph_and_never_taken_from_the_cache(bench):
    schema = bench.nodes["WanAttnRayReport"].GET_SCHEMA()
    assert (schema.is_output_node, schema.not_idempotent) == (True, True)
