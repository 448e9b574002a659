"""The real ComfyUI-NAG, which is a sampler: its blocks get no options, and its text attention is another forward."""

from __future__ import annotations

import sys

import pytest
import torch
from wanattn.tests.host import packs, sampling
from wanattn.tests.host.account import assert_account, assert_told

STEPS, BLOCKS = 2, 2
GUIDED = STEPS * BLOCKS * 3  # self attention, text attention with and without guidance


@pytest.fixture
def run(load, workbench):
    from wanattn.tests.host.counting import Counting

    pack = packs.load("ComfyUI-NAG")
    sample = sys.modules[f"{pack.__name__}.sample"].sample_custom_with_nag

    def run(change=lambda model: model, until=0.0):
        """`until` is the noise level at which the guidance ends."""
        import comfy.sample
        import comfy.samplers
        from comfy_execution.utils import CurrentNodeContext

        model = change(load("t2v"))
        latent = sampling.empty_latent(model)
        schedule = model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(schedule, "simple", STEPS)
        noise = comfy.sample.prepare_noise(latent, 3)
        texts = [sampling.conditioning(model, seed) for seed in (11, 12, 13)]
        given = (5.0, 2.5, 0.25, until, comfy.samplers.sampler_object("euler"), sigmas, *texts)
        with (
            Counting(model) as counting,
            CurrentNodeContext("prompt", "sampler", 0),
            torch.inference_mode(),
        ):
            result = sample(model, noise, 1.0, *given, latent, disable_pbar=True, seed=3)
        return model, counting, result

    return run


def test_the_pack_makes_its_own_calls(run):
    _, counting, _ = run()

    assert len(counting.calls) == GUIDED
    assert counting.counts("role") == {("self",): GUIDED // 3, ("text",): 2 * GUIDED // 3}


@pytest.mark.parametrize("backend", ["math", "flash"])
def test_every_call_is_told_and_runs_on_the_backend(run, workbench, backend):
    patched, counting, _ = run(
        lambda m: workbench.diagnostics(workbench.backend(m, backend, "stop"))
    )
    report = workbench.report(patched)

    assert set(counting.counts("kernel")) == {(backend,)}
    assert_told(report, counting)
    assert_account(report, GUIDED, 0)
    assert f"{GUIDED} of {GUIDED} calls did not come through the hook" in report.text
    assert all("ComfyUI_NAG" in past["how"] for past in report.payload["account"]["past"])


def test_guidance_that_ends_is_told_by_step(run, workbench):
    """From the second step on the model is the host's own again."""
    patched, counting, _ = run(lambda m: workbench.backend(m, "math"), until=0.95)
    report = workbench.report(patched)

    assert_told(report, counting)
    first = {line["via"] for line in report.lines if line["step"] == "0"}
    second = {line["via"] for line in report.lines if line["step"] == "1"}
    assert (first, second) == ({"past"}, {"hook"})


def test_watching_changes_no_bit(run, workbench):
    plain = run()[2]

    assert torch.equal(run(workbench.diagnostics)[2], plain)
    assert torch.equal(run(lambda m: workbench.backend(m, "host"))[2], plain)
