"""Attention Run Report: what it gives, shows and puts into the metadata, and that its trouble costs no video."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def node(workbench):
    from wanattn.nodes import report

    return report


@pytest.fixture
def watched(load, workbench):
    """A model behind one node, 20, with one run of the job in which no call was made."""
    from wanattn.nodes.host.tap import taps

    model = workbench.diagnostics(load("t2v"))
    (tap,) = taps(model)
    tap.recorder.end(tap.recorder.begin("a job"), "finished")
    return model


def executed(workbench, **inputs):
    """What the host's executor gets of the node, what the page shows included."""
    from comfy_api.latest import io
    from comfy_execution.utils import CurrentNodeContext

    hidden = {io.Hidden.unique_id: "30", io.Hidden.extra_pnginfo: workbench.extra_pnginfo}
    node = workbench.nodes["WanAttnReport"].PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    with CurrentNodeContext("a job", "30", 0):
        return node.EXECUTE_NORMALIZED(**inputs)


def test_the_host_runs_it_for_its_own_sake(workbench):
    assert workbench.nodes["WanAttnReport"].GET_NODE_INFO_V1()["output_node"] is True


def test_it_shows_the_report_and_gives_it_as_text_picture_and_metadata(workbench, watched):
    given = executed(workbench, model=watched, after="the video", filename_prefix="x/report")
    after, text, picture = given.result

    assert after == "the video" and picture.ndim == 4
    assert given.ui["text"] == (text,)
    assert text.endswith("written: x/report_00001.json, x/report_00001.csv, x/report_00001.html")
    (payload,), (place,) = given.ui["wanattn"], given.ui["wanattn_picture"]
    assert (payload["node"], payload["state"]) == ("20", "finished")
    assert place["type"] == "temp" and place["filename"].endswith(".png")
    kept = workbench.extra_pnginfo["wanattn"]
    assert kept["30"]["environment"] == payload["environment"] and list(kept) == ["30"]


def test_a_model_that_passed_none_of_our_nodes_gives_a_sentence(workbench, node, load):
    given = executed(workbench, model=load("t2v"), after=None, filename_prefix="x/report")

    assert given.result[1] == node.NO_TAP
    assert given.ui["text"] == (node.NO_TAP,) and given.ui["wanattn"] == []
    assert list(workbench.output.iterdir()) == []


@pytest.mark.parametrize(
    ("metadata", "keys"),
    [
        ({"wanattn": {"9": "another report"}, "workflow": {}}, {"9", "30"}),
        ({"wanattn": "what a client sent"}, {"30"}),
        ({}, {"30"}),
        (["what a client sent"], None),
        (None, None),
    ],
)
def test_the_metadata_keeps_what_other_reports_put_there(node, watched, metadata, keys):
    text, payload = node.finish(watched, "x/report", "30", metadata)

    assert "written: x/report_00001.json" in text and payload["node"] == "20"
    if keys is None:
        assert metadata in (["what a client sent"], None)
    else:
        assert metadata["wanattn"].keys() == keys
        assert metadata["wanattn"].get("9", "another report") == "another report"


def test_without_an_id_of_its_own_it_goes_by_that_of_the_node_that_watched(node, watched):
    metadata = {}
    node.finish(watched, "x/report", None, metadata)

    assert list(metadata["wanattn"]) == ["20"]


def test_a_report_that_fails_is_a_sentence(node, caplog):
    told = "The attention report failed (AttributeError: 'NoneType' object has no attribute "
    text, payload = node.finish(None, "x/report", "30", {})

    assert text.startswith(told) and text.endswith("); the run itself is not affected.")
    assert payload is None and caplog.messages == ["the attention report failed"]


@pytest.mark.parametrize(
    ("queued", "recorded", "runs", "told"),
    [
        ("job b", "job a", 1, True),
        ("job b", "job b", 1, False),
        ("job b", None, 1, False),
        ("job b", "job a", 0, False),
        (None, "job a", 1, False),
    ],
)
def test_a_result_of_the_cache_is_told_where_an_earlier_job_sampled_it(
    node, monkeypatch, queued, recorded, runs, told
):
    context = queued and SimpleNamespace(prompt_id=queued)
    monkeypatch.setattr(node, "get_executing_context", lambda: context)
    tap = SimpleNamespace(recorder=SimpleNamespace(job=recorded, runs=[None] * runs))

    assert node._reused(tap) == ([node.REUSED] if told else [])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ImportError("no matplotlib"),
            "The picture needs matplotlib (no matplotlib).\nInstall it with: pip install matplotlib",
        ),
        (KeyError("rows"), "The picture failed (KeyError). The text has the report."),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_a_sentence(node, monkeypatch, error, told):
    def draw(payload):
        raise error

    monkeypatch.setattr(node, "draw", draw)
    monkeypatch.setattr(node, "write_out", lambda text: text)

    assert node.picture({"schema": 1}, "the report") == told
    assert node.picture(None, "the report") == "the report"


def test_a_picture_that_cannot_be_kept_is_not_shown(node, caplog):
    assert node.kept(None) == []
    assert caplog.messages == ["the picture of the report was not kept for the page"]
    assert [place["type"] for place in node.kept(torch.zeros(1, 8, 8, 3))] == ["temp"]


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [((1, 1, 1), 2), ((1, 1, 0), 1), ((0, 0, 0), 2), ((1, 0, 0), 0), ((), None)],
)
def test_the_last_node_that_saw_anything_tells(node, monkeypatch, runs, chosen):
    found = [SimpleNamespace(recorder=SimpleNamespace(runs=[None] * count)) for count in runs]
    monkeypatch.setattr(node, "taps", lambda model: tuple(found))

    assert node.chosen_tap(None) is (None if chosen is None else found[chosen])
