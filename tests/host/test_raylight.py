"""Raylight's real nodes with two actors on the CPU: what is told of each rank is what that rank ran."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from wanattn.tests.host.hosts import current_host
from wanattn.tests.host.ray_actors import STEPS, Raylight, skip_without_raylight

XFUSER, DATA, UNIFIED = "XFuserKSamplerAdvanced", "DPKSamplerAdvanced", "UnifiedParallelSampler"
MODES = {
    "usp": ((2, 1, 1, 1), XFUSER),
    "cfg": ((1, 1, 2, 1), XFUSER),
    "ring": ((1, 2, 1, 1), XFUSER),
    "apart": ((0, 0, 0, 1), DATA),
    "groups": ((1, 1, 1, 2), UNIFIED),
}
TOLD = {
    "usp": "Ulysses 2",
    "cfg": "CFG 2",
    "ring": "ring 2",
    "apart": "each rank on its own",
    "groups": "data parallel 2",
}
BLOCKS = 2
CALLS = 2 * BLOCKS * STEPS  # of a rank: self and text, both prompts in one batch or each on a rank
WISHES = {
    "flash": ("flash", ()),
    "math": ("math", ()),
    "auto": ("auto", ()),
    "rules": ("flash", (("text", "", "1", "math"), ("self", "0", "", "math"))),
}
# by role, block, step and backend: text in step 1, and self-attention of block 0, on math
RULED = [
    (
        role,
        str(block),
        str(step),
        "math" if (role, step) == ("text", 1) or (role, block) == ("self", 0) else "flash",
    )
    for role in ("self", "text")
    for block in range(BLOCKS)
    for step in range(STEPS)
]


@pytest.fixture(scope="module", params=list(MODES))
def raylight(request, comfy, tmp_path_factory):
    skip_without_raylight()
    from wanattn.tests.host import tiny

    checkpoint = tiny.save_wan(tmp_path_factory.mktemp("ray"), "t2v", 1, "ranks")
    made = Raylight(current_host(), checkpoint, *MODES[request.param])
    made.mode = request.param
    yield made
    made.close()


@pytest.fixture
def chosen(raylight, workbench):
    """The actors behind the node, with a backend and rules."""
    from wanattn.tests.host.conftest import chained

    def chosen(wish):
        backend, rules = WISHES.get(wish, (wish, ()))
        inputs = {"ray_actors": raylight.actors, "backend": backend, "on_refusal": "next best"}
        chain = {"rules": chained(workbench, *rules)} if rules else {}
        return workbench.run("WanAttnRayBackend", "7", **inputs, **chain)[0]

    return chosen


def reported(workbench, actors):
    """The report node's payload, and the lines of its CSV by rank."""
    from wanattn.tests.host.workbench import read_report

    same, text, *_ = workbench.run(
        "WanAttnRayReport", "9", ray_actors=actors, filename_prefix="wanattn/report"
    )
    assert same is actors
    return read_report(workbench.output, "wanattn/report", same, text)


@pytest.mark.parametrize("wish", list(WISHES))
def test_each_rank_is_told_as_it_was_counted(raylight, chosen, workbench, wish):
    actors = chosen(wish)
    raylight.sample(actors)  # `auto` measures in the first one
    raylight.count()
    _, after = raylight.sample(actors)
    counted = raylight.counts()

    report = reported(workbench, after)
    told = [Counter(), Counter()]
    for line in report.lines:  # sampled outside a job, so the newest sampler call alone is kept
        place = (line["role"], line["block"], line["step"], line["active"])
        told[int(line["rank"])][place] += 1
    assert told == counted
    parts = 2 if raylight.mode == "ring" else 1
    assert [sum(each.values()) for each in told] == [CALLS * parts] * 2
    assert [each["calls"] for each in report.payload["devices"]] == [CALLS * parts] * 2
    assert {each["mode"] for each in report.payload["devices"]} == {TOLD[raylight.mode]}
    ran = {active for _, _, _, active in counted[0]}
    if raylight.mode == "ring":
        assert ran == {"flash"}
    elif wish != "auto":
        assert ran == {"flash": {"flash"}, "math": {"math"}, "rules": {"flash", "math"}}[wish]
    if wish == "rules" and raylight.mode != "ring":
        assert counted[0] == Counter(RULED)


def test_ring_attention_takes_only_what_gives_a_log_sum_exp(raylight, chosen, workbench):
    _, after = raylight.sample(chosen("math"))
    reasons = {
        reason for row in reported(workbench, after).payload["rows"] for reason in row["reasons"]
    }
    refused = {"gives no log-sum-exp, needs one for ring attention to join its parts"}
    assert reasons == (refused if raylight.mode == "ring" else set())


def test_the_output_is_that_of_raylight_alone(raylight, chosen):
    """Nothing is left in the actors afterwards, and watching alone changes no bit."""
    plain, _ = raylight.sample(raylight.actors)
    watched, _ = raylight.sample(chosen("host"))
    flash, _ = raylight.sample(chosen("flash"))
    again, _ = raylight.sample(raylight.actors)

    assert torch.equal(watched, plain)
    assert torch.equal(again, plain)
    # Raylight's own math gives ring attention no log-sum-exp, so that its own result is not exact there.
    assert (flash - plain).abs().max() < (0.2 if raylight.mode == "ring" else 0.05)
    assert raylight.left_over() == [[], []]


def test_one_rank_measures_for_both(raylight, chosen, workbench, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    if raylight.mode == "ring":
        pytest.skip("on a CPU only one kernel gives a log-sum-exp: nothing to measure")
    _, after = raylight.sample(chosen("auto"))

    payload = reported(workbench, after).payload
    spent = [each["measuring_ms"] > 0 for each in payload["devices"]]
    # Whoever meets a kind of call first measures it; between exchanges that may be the one, then the other.
    assert sorted(spent) == [False, True] if raylight.mode == "cfg" else any(spent)
    by_rank = [
        {(row["role"], row["active"]) for row in payload["rows"] if row["rank"] == rank}
        for rank in (0, 1)
    ]
    assert by_rank[0] == by_rank[1]
    timings = json.loads((tmp_path / "user" / "wanattn" / "timings.json").read_text())
    assert len(timings["machines"]) == 1


def test_a_refusal_ends_the_run_in_its_own_words(raylight, workbench):
    inputs = {"ray_actors": raylight.actors, "backend": "cudnn", "on_refusal": "stop"}
    actors = workbench.run("WanAttnRayBackend", "7", **inputs)[0]

    with pytest.raises(Exception, match="Attention Backend 'cudnn' cannot run this call"):
        raylight.sample(actors)
    payload = reported(workbench, actors).payload
    assert payload["state"] == "failed"
    assert "cudnn" in payload["failure"]["sentence"].lower()
    raylight.sample(raylight.actors)  # the actors live on


def test_a_rank_that_cannot_be_told_to_sample_leaves_no_settings_on_any(raylight, chosen):
    worker, _ = chosen("math")["workers"]
    with pytest.raises(TypeError, match="missing a required argument"):
        worker.common_ksampler.remote()
    assert raylight.left_over() == [[], []]


def test_an_override_put_over_ours_is_told_and_stops_no_later_run(raylight, chosen):
    def covered(model):
        model.model_options["transformer_options"]["optimized_attention_override"] = print

    def bare(model):
        return model.model_options["transformer_options"].pop("optimized_attention_override")

    session = chosen("math")["wanattn"]
    session.begin(0)
    raylight.ask(covered)
    for rank in range(2):
        session.end(rank)
    (told,) = session.reports()
    assert ["override was put over" in sentence for sentence in told.values()] == [True, True]
    assert raylight.ask(bare) == [print, print]
    assert raylight.left_over() == [[], []]
    raylight.sample(chosen("math"))


def test_what_an_actor_lacks_is_told_in_one_sentence(raylight):
    from wanattn.nodes.raylight.sent import sent

    with pytest.raises(Exception, match=r"found by a Ray actor, needs 0\.0\.0 as in this ComfyUI"):
        raylight.ask(sent("ready"), "0.0.0")


def test_actors_that_passed_no_node_are_told_of(raylight, workbench):
    same, text, *_ = workbench.run(
        "WanAttnRayReport", "9", ray_actors=raylight.actors, filename_prefix="x"
    )
    assert same is raylight.actors
    assert "Wire it between Raylight's loader and its sampler" in text
