"""The report of a watched model as plain data: what is told beside its calls."""

from __future__ import annotations

import pytest

GUESS = "not a Wan model: roles are guesses from the shapes"
FAILURE = {"sentence": "no kernel", "advice": "", "step": 1, "block": 0}


def built(state, **facts):
    from wanattn.attention.record.recorder import Recorder
    from wanattn.nodes.host.report.facts import Facts
    from wanattn.nodes.host.report.payload import build

    recorder = Recorder()
    recorder.end(recorder.begin("a job"), state)
    return build(Facts("10", facts.pop("model", {"wan": True}), **facts), recorder.snapshot())


@pytest.mark.parametrize("state", ["failed", "finished", "interrupted"])
@pytest.mark.parametrize("failure", [FAILURE, None])
def test_a_failure_is_told_of_a_run_that_failed_and_of_no_other(comfy, state, failure):
    payload = built("".join(list(state)), failure=failure)

    told = failure if state == "failed" else None
    assert payload.get("failure", None) == told and ("failure" in payload) == bool(told)


def test_roles_are_told_as_guesses_where_the_model_is_no_wan(comfy):
    assert built("finished", notes=("a",))["notes"] == ["a"]
    assert built("finished", notes=("a",), model={"class": "SD15"})["notes"] == ["a", GUESS]


def test_what_is_known_of_the_run_is_told_and_nothing_else(comfy):
    from wanattn.nodes.host.expected.outlook import Outlook

    known = {"gain": {"run": 1.2}, "date": "2026-01-02 03:04+00:00"}
    outlook = {"video": {"width": 64}, "forecast": [{"role": "self"}]}
    told = Outlook(outlook["video"], tuple(outlook["forecast"]))
    payload, bare = built("finished", outlook=told, **known), built("finished")

    assert {name: payload[name] for name in payload.keys() - bare.keys()} == known | outlook
    assert bare.keys() < payload.keys() and bare["node"] == "10"


def test_a_saved_video_carries_what_ran_and_where(comfy):
    from wanattn.nodes.host.report.payload import provenance

    payload = built("finished")
    assert provenance(payload) == {
        name: payload[name]
        for name in payload
        if name
        in {
            "schema",
            "requested",
            "totals",
            "fallbacks",
            "mismatches",
            "notes",
            "environment",
            "account",
        }
    }
