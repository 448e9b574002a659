"""Runs of every shape: kinds of model, both experts, several samplers, runs cut short."""

import pytest
import torch
from wanattn.tests.host import sampling
from wanattn.tests.host.sampling import CALLS, sample


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("t2v", {"self": (320, 320), "text": (320, 512)}),
        ("i2v", {"self": (320, 320), "text": (320, 512)}),
        ("i2v_tokens", {"self": (320, 320), "text": (320, 512), "image": (320, 257)}),
        ("ti2v_5b", {"self": (80, 80), "text": (80, 512)}),
    ],
)
def test_roles_are_those_of_the_model(load, workbench, kind, roles):
    patched = workbench.backend(load(kind))
    sample(patched)

    report = workbench.report(patched)
    found = {row["role"]: (row["q_len"], row["kv_len"]) for row in report.payload["rows"]}
    assert found == roles
    assert report.counts("role") == {(role,): 4 for role in roles}
    assert {row["head_dim"] for row in report.payload["rows"]} == {128}


def test_roles_are_told_apart_when_the_latent_is_as_long_as_the_text(load, workbench):
    patched = workbench.backend(load("t2v"))
    sample(patched, latent=torch.zeros(1, 16, 2, 32, 32))  # 2 x 16 x 16 = 512 tokens

    assert workbench.report(patched).counts("role", "q_len", "kv_len") == {
        ("self", "512", "512"): 4,
        ("text", "512", "512"): 4,
    }


@pytest.mark.parametrize("backend", ["flash", "math"])
def test_both_experts_through_the_hosts_nodes(load, workbench, backend):
    plain = run_experts(load("t2v", 1), load("t2v", 2))
    high, low = (workbench.backend(load("t2v", seed), backend, at=str(seed)) for seed in (1, 2))
    patched = run_experts(workbench.diagnostics(high), workbench.diagnostics(low))

    torch.testing.assert_close(patched, plain, rtol=1e-4, atol=1e-4)
    for model, steps in ((high, 1), (low, 2)):
        payload = workbench.report(model).payload
        assert payload["totals"] == {backend: 4 * steps}
        assert payload["runs"][0]["steps"] == steps
        assert len(payload["runs"][0]["step_seconds"]) == steps


def run_experts(high, low):
    """Three steps of Wan 2.2: ModelSamplingSD3 and KSamplerAdvanced for each expert."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    from nodes import KSamplerAdvanced

    latent = {"samples": sampling.empty_latent(high)}
    parts = [(high, "enable", 0, 1, "enable"), (low, "disable", 1, 10000, "disable")]
    for model, noise, start, end, leftover in parts:
        (model,) = ModelSamplingSD3().patch(model, 5.0)
        texts = (sampling.conditioning(model, 11), sampling.conditioning(model, 12))
        chosen = (noise, 7, 3, 2.0, "euler", "simple", *texts, latent, start, end, leftover)
        with torch.inference_mode():
            (latent,) = KSamplerAdvanced().sample(model, *chosen)
    return latent["samples"]


def test_guidance_of_one_is_told_as_cond_alone(load, workbench):
    patched = workbench.backend(load("t2v"))
    sample(patched, cfg=1.0)

    assert workbench.report(patched).counts("cond", "batch") == {("positive", "1"): CALLS}


def test_sampler_with_two_evaluations_a_step_keeps_its_steps(load, workbench):
    patched = workbench.backend(load("t2v"))
    sample(patched, steps=3, sampler="heun")

    report = workbench.report(patched)
    assert report.payload["runs"][0]["forwards"] == 5
    assert {line["step"] for line in report.lines} == {"0", "1", "2"}


def test_clone_of_the_patched_model_is_still_watched(load, workbench):
    patched = workbench.diagnostics(workbench.backend(load("t2v"), "math")).clone()
    sample(patched)

    assert workbench.report(patched).payload["totals"] == {"math": CALLS}


def test_last_backend_of_two_decides(load, workbench):
    patched = workbench.backend(workbench.backend(load("t2v"), "math", at="1"), "flash", at="2")
    sample(patched)

    payload = workbench.report(patched).payload
    assert (payload["requested"], payload["totals"]) == ("flash", {"flash": CALLS})


def test_host_after_another_backend_leaves_it_the_calls(load, workbench):
    patched = workbench.backend(workbench.backend(load("t2v"), "math", at="1"), "host", at="2")
    sample(patched)

    payload = workbench.report(patched).payload
    assert (payload["requested"], payload["totals"]) == ("math", {"math": CALLS})


def test_interrupted_run_keeps_what_ran(load, workbench):
    import comfy.model_management as management

    def interrupt(step, *_):
        management.interrupt_current_processing(step == 1)

    patched = workbench.backend(load("t2v"))
    with pytest.raises(management.InterruptProcessingException):
        sample(patched, steps=9, callback=interrupt)

    payload = workbench.report(patched).payload
    assert payload["state"] == payload["runs"][0]["state"] == "interrupted"
    assert payload["totals"] == {"flash": 2 * 4}
    assert payload["runs"][0]["steps"] == 9


def test_error_inside_a_run_keeps_what_ran_and_is_passed_on(load, workbench):
    def fail(step, *_):
        raise ArithmeticError("of the test")

    patched = workbench.diagnostics(load("t2v"))
    with pytest.raises(ArithmeticError, match="of the test"):
        sample(patched, callback=fail)

    payload = workbench.report(patched).payload
    assert payload["state"] == "failed"
    assert payload["calls"] == 4


def test_new_prompt_starts_a_new_report(load, workbench):
    patched = workbench.backend(load("t2v"))
    sample(patched, seed=1, prompt="first")
    first = workbench.report(patched).payload
    sample(patched, seed=2, steps=3, prompt="second")
    second = workbench.report(patched).payload

    assert (first["calls"], second["calls"]) == (CALLS, 12)
    assert [run["state"] for run in first["runs"] + second["runs"]] == ["finished", "finished"]


@pytest.mark.parametrize("backend", ["flash", "math", "host"])
def test_model_that_is_not_wan_works_and_says_that_roles_are_guesses(workbench, unet, backend):
    patched = workbench.backend(unet, backend)

    torch.testing.assert_close(sample(patched), sample(unet), rtol=1e-4, atol=1e-4)
    report = workbench.report(patched)
    assert report.payload["model"] == {"class": "BaseModel", "wan": False}
    assert any("guess" in note for note in report.payload["notes"])
    assert report.payload["calls"] == len(report.lines) > 0
    assert {row["heads"] for row in report.payload["rows"]} == {8}


def test_unknown_backend_is_named_with_the_known_ones(load, workbench):
    with pytest.raises(ValueError, match=r"'sgae'; expected one of .*flash.*cudnn"):
        workbench.backend(load("t2v"), "sgae")


def test_refused_backend_can_stop_the_run(load, workbench):
    patched = workbench.backend(load("t2v"), "cudnn", "stop")

    with pytest.raises(RuntimeError, match="cuDNN does not exist on cpu"):
        sample(patched)
