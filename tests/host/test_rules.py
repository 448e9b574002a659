"""Rules on a model of the host: every call runs where its rule says, and mistakes end in a sentence."""

import pytest
import torch
from wanattn.tests.host import sampling
from wanattn.tests.host.graph import single
from wanattn.tests.host.sampling import CALLS, sample
from wanattn.tests.host.workbench import read_report


def ran(report, *columns):
    """The backends by these columns; the columns together must decide."""
    found = {}
    for line in report.lines:
        found.setdefault(tuple(line[column] for column in columns), set()).add(line["active"])
    assert all(len(backends) == 1 for backends in found.values())
    return {key: backends.pop() for key, backends in found.items()}


def test_blocks_and_steps_run_on_the_ruled_backend(load, workbench, ruled):
    patched = ruled(load("t2v"), ("any", "1", "0,2", "math"))
    latent = sample(patched, steps=4)

    report = workbench.report(patched)
    math = {("0", "1"), ("2", "1")}
    places = [(str(step), str(block)) for step in range(4) for block in range(2)]
    expected = {place: "math" if place in math else "flash" for place in places}
    assert ran(report, "step", "block") == expected
    assert all(line["requested"] == line["active"] for line in report.lines)
    assert report.payload["totals"] == {"flash": 12, "math": 4}
    assert report.payload["requested"] == "flash, math"
    torch.testing.assert_close(latent, sample(load("t2v"), steps=4), rtol=1e-4, atol=1e-4)


def test_image_calls_have_their_own_backend(load, workbench, ruled):
    patched = ruled(load("i2v_tokens"), ("image", "", "", "math"))
    sample(patched)

    roles = {("self",): "flash", ("text",): "flash", ("image",): "math"}
    assert ran(workbench.report(patched), "role") == roles


def test_first_and_last_steps_by_share(load, workbench, ruled):
    patched = ruled(load("t2v"), ("self", "", "0%-10%,90%-", "math"))
    sample(patched, steps=5)

    steps = ran(workbench.report(patched), "role", "step")
    assert [steps["self", str(step)] for step in range(5)] == [
        "math",
        "flash",
        "flash",
        "flash",
        "math",
    ]
    assert {steps["text", str(step)] for step in range(5)} == {"flash"}


def test_later_rules_win(load, workbench, ruled):
    patched = ruled(load("t2v"), ("any", "", "", "math"), ("text", "0", "", "flash"))
    sample(patched)

    report = workbench.report(patched)
    assert ran(report, "role", "block") == {
        ("self", "0"): "math",
        ("self", "1"): "math",
        ("text", "0"): "flash",
        ("text", "1"): "math",
    }
    assert "rule any: math" in report.payload["notes"]
    assert "rule text, blocks 0: flash" in report.payload["notes"]


def test_sampler_with_two_evaluations_a_step_keeps_to_the_steps(load, workbench, ruled):
    patched = ruled(load("t2v"), ("any", "", "2", "math"))
    sample(patched, steps=3, sampler="heun")

    assert ran(workbench.report(patched), "step") == {
        ("0",): "flash",
        ("1",): "flash",
        ("2",): "math",
    }


def test_steps_are_those_of_each_sampler_run(load, workbench, ruled):
    from nodes import KSamplerAdvanced

    chain = ("any", "", "0", "math")
    experts = [ruled(load("t2v", seed), chain, at=str(seed)) for seed in (1, 2)]
    latent = {"samples": sampling.empty_latent(experts[0])}
    parts = [("enable", 0, 2, "enable"), ("disable", 2, 10000, "disable")]
    for model, (noise, start, end, leftover) in zip(experts, parts, strict=True):
        texts = (sampling.conditioning(model, 11), sampling.conditioning(model, 12))
        chosen = (noise, 7, 5, 2.0, "euler", "simple", *texts, latent, start, end, leftover)
        with torch.inference_mode():
            (latent,) = KSamplerAdvanced().sample(model, *chosen)

    for model, steps in zip(experts, (2, 3), strict=True):
        backends = ran(workbench.report(model), "step")
        assert backends.pop(("0",)) == "math"
        assert set(backends.values()) == {"flash"} and len(backends) == steps - 1


def test_host_rule_leaves_the_calls_to_who_had_them(load, workbench, ruled):
    taken = []

    def halved_attention(func, *args, **kwargs):
        taken.append(1)
        return func(*args, **kwargs) * 0.5

    model = load("t2v").clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = halved_attention
    patched = ruled(model, ("text", "", "", "host"), backend="math")
    sample(patched)

    report = workbench.report(patched)
    assert len(taken) == CALLS // 2
    assert report.counts("role", "requested", "evidence") == {
        ("self", "math", "forced"): CALLS // 2,
        ("text", "host", "profiled"): CALLS // 2,
    }
    notes = report.payload["notes"]
    assert any("calls left to the host go through" in n and "halved_attention" in n for n in notes)
    assert not any("replaced" in note for note in notes)


def test_rules_decide_alone_where_the_backend_is_host(load, workbench, ruled):
    patched = ruled(load("t2v"), ("self", "0", "", "math"), backend="host")
    sample(patched)

    assert workbench.report(patched).counts("role", "block", "requested", "active") == {
        ("self", "0", "math", "math"): 2,
        ("self", "1", "host", "flash"): 2,
        ("text", "0", "host", "flash"): 2,
        ("text", "1", "host", "flash"): 2,
    }


def test_refused_rule_falls_back_with_its_reason_or_stops(load, workbench, ruled):
    patched = ruled(load("t2v"), ("text", "", "", "cudnn"), backend="math")
    sample(patched)

    counts = workbench.report(patched).counts("role", "requested", "active", "reason")
    assert counts == {
        ("self", "math", "math", ""): 4,
        ("text", "cudnn", "flash", "cuDNN does not exist on cpu"): 4,
    }
    stopped = ruled(load("t2v"), ("text", "", "", "cudnn"), on_refusal="stop")
    with pytest.raises(RuntimeError, match="cuDNN does not exist on cpu"):
        sample(stopped)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (("any", "2", "", "flash"), "block 2, this model has blocks 0 to 1"),
        (("self", "0-45", "", "flash"), "block 45, this model has blocks 0 to 1"),
        (("any", "5-3", "", "flash"), "range 5-3 runs backwards"),
        (("any", "", "0-5,4-7", "flash"), "ranges 0-5 and 4-7 overlap"),
        (("any", "all", "", "flash"), "'all' is no range"),
    ],
)
def test_mistakes_are_told_when_the_node_runs(load, ruled, rule, sentence):
    with pytest.raises(ValueError, match=sentence):
        ruled(load("t2v"), rule)


def test_model_without_numbered_blocks_takes_rules_without_blocks(unet, workbench, ruled):
    with pytest.raises(ValueError, match="this model has no numbered blocks"):
        ruled(unet, ("any", "0", "", "math"))

    patched = ruled(unet, ("any", "", "1", "math"))
    sample(patched)
    assert ran(workbench.report(patched), "step") == {("0",): "flash", ("1",): "math"}


def test_step_that_the_run_has_not_stops_before_any_call(load, workbench, ruled):
    patched = ruled(load("t2v"), ("any", "", "0-1,18-", "math"))

    with pytest.raises(ValueError, match="step 18, this run has steps 0 to 3"):
        sample(patched, steps=4)

    assert workbench.report(patched).payload["calls"] == 0
    sample(patched, steps=20)
    assert ran(workbench.report(patched), "step")[("19",)] == "math"


@pytest.mark.parametrize(
    ("inputs", "answer"),
    [
        ({"blocks": "0-3,39", "steps": "90%-"}, True),
        ({"blocks": None, "steps": None}, True),
        ({"blocks": "5-3", "steps": ""}, "blocks: range 5-3 runs backwards"),
        ({"blocks": "", "steps": "0%-110%"}, "steps: range 0%-110% goes beyond 100%"),
        ({"blocks": "0%-10%"}, "blocks: '0%-10%' is no range, write 3, 0-3 or 18-"),
        (
            {"blocks": "5-3", "steps": "9-8"},
            "blocks: range 5-3 runs backwards\nsteps: range 9-8 runs backwards",
        ),
    ],
)
def test_typed_mistakes_are_told_before_anything_runs(workbench, inputs, answer):
    assert workbench.nodes["WanAttnRule"].validate_inputs(**inputs) == answer


def test_a_rule_is_asked_for_what_it_narrows(workbench):
    schema = workbench.nodes["WanAttnRule"].GET_SCHEMA()

    assert (schema.not_idempotent, schema.is_output_node) == (False, False)
    assert workbench.asked("WanAttnRule") == {
        "rules": ("optional", {}),
        "role": ("required", {"default": "any"}),
        "blocks": ("required", {"default": ""}),
        "steps": ("required", {"default": ""}),
        "backend": ("required", {"default": "auto"}),
    }


def with_rule(**rule):
    graph = single("flash", "ruled")
    link = graph.add("WanAttnRule", role="any", steps="", backend="math", **rule)
    graph[graph.node("WanAttnBackend")]["inputs"]["rules"] = link
    return graph


def test_server_takes_a_rule_and_refuses_a_wrong_one(server):
    server.run(with_rule(blocks="1"))

    report = read_report(server.output, "ruled/report")
    assert ran(report, "block") == {("0",): "flash", ("1",): "math"}
    with pytest.raises(AssertionError, match="blocks: range 5-3 runs backwards"):
        server.queue(with_rule(blocks="5-3"))
