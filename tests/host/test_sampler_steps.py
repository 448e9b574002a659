"""Each evaluation of the model belongs to the step of the sampler that made it; the truth is the sampler's own loop."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from wanattn.tests.host import imitations, packs, sampling
from wanattn.tests.host.account import assert_told
from wanattn.tests.host.sampling import conditioning

STEPS = 4
ONCE = [
    "euler",
    "euler_cfg_pp",
    "euler_ancestral",
    "euler_ancestral_cfg_pp",
    "lms",
    "dpmpp_2m",
    "dpmpp_2m_cfg_pp",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu",
    "dpmpp_2m_sde_heun",
    "dpmpp_2m_sde_heun_gpu",
    "dpmpp_3m_sde",
    "dpmpp_3m_sde_gpu",
    "ddpm",
    "lcm",
    "ipndm",
    "ipndm_v",
    "deis",
    "res_multistep",
    "res_multistep_cfg_pp",
    "res_multistep_ancestral",
    "res_multistep_ancestral_cfg_pp",
    "gradient_estimation",
    "gradient_estimation_cfg_pp",
    "er_sde",
    "sa_solver",
    "ddim",
    "uni_pc",
    "uni_pc_bh2",
]
OFTEN = [
    "heun",
    "heunpp2",
    "exp_heun_2_x0",
    "exp_heun_2_x0_sde",
    "dpm_2",
    "dpm_2_ancestral",
    "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp",
    "dpmpp_sde",
    "dpmpp_sde_gpu",
    "seeds_2",
    "seeds_3",
    "sa_solver_pece",
]
FREE = [
    "dpm_fast",
    "dpm_adaptive",
]  # they choose their own sigmas: no step of theirs is one of the schedule
WRONG = [
    "heun",
    "heunpp2",
    "exp_heun_2_x0",
    "exp_heun_2_x0_sde",
    "dpm_2",
    "dpm_2_ancestral",
    "dpmpp_2s_ancestral",
    "dpmpp_2s_ancestral_cfg_pp",
    "seeds_3",
]
UNRULED = set(WRONG) - {"dpmpp_2s_ancestral", "seeds_3"}
NEAREST = "the step is that of the nearest sigma"


@pytest.fixture
def run(fresh_model, workbench):
    """Samples with a sampler object; gives the report and the count."""
    from wanattn.tests.host.counting import Counting

    def run(patched, sampler, steps=STEPS):
        import comfy.samplers

        if isinstance(sampler, str):
            if sampler not in comfy.samplers.SAMPLER_NAMES:
                pytest.skip(f"this ComfyUI has no sampler {sampler}")
            sampler = comfy.samplers.sampler_object(sampler)
        sampling_of = patched.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling_of, "simple", steps)
        latent = torch.zeros(1, 16, 1, 8, 8)
        with Counting(patched) as counting:
            sampling.custom(
                patched,
                sampler,
                sigmas,
                conditioning(patched, 11),
                conditioning(patched, 12),
                latent,
            )
        return workbench.report(patched), counting

    return run


@pytest.fixture(scope="module")
def fresh_model(comfy, tmp_path_factory):
    from wanattn.tests.host import tiny

    tiny.WAN["num_layers"] = 1
    try:
        path = tiny.save_wan(tmp_path_factory.mktemp("steps"), "t2v")
    finally:
        tiny.WAN["num_layers"] = 2
    return comfy.sd.load_diffusion_model(str(path))


def assert_steps(report, counting):
    assert_told(report, counting, "role", "step", "kernel")
    (run,) = report.payload["runs"]
    made = Counter(counting.steps)
    assert set(made) == set(range(max(made) + 1)), "a step of the sampler made no forward"
    assert run["forwards"] == len(counting.steps)
    assert len(run["step_seconds"]) == len(made)
    assert all(seconds > 0 for seconds in run["step_seconds"])


@pytest.mark.parametrize("sampler", ONCE)
def test_one_evaluation_a_step(fresh_model, run, workbench, sampler):
    assert_steps(*run(workbench.backend(fresh_model, "math"), sampler))


@pytest.mark.parametrize("sampler", OFTEN)
def test_several_evaluations_a_step(fresh_model, run, workbench, sampler):
    report, counting = run(workbench.backend(fresh_model, "math"), sampler)

    assert max(Counter(counting.steps).values()) > 1
    assert_steps(report, counting)


@pytest.mark.parametrize("sampler", OFTEN)
def test_rule_for_the_first_step_takes_all_its_evaluations(fresh_model, run, ruled, sampler):
    patched = ruled(fresh_model, ("any", "", "0%-25%", "math"), backend="flash")
    _, counting = run(patched, sampler)

    kernels = counting.counts("step", "kernel")
    assert {kernel for (step, kernel) in kernels if step == "0"} == {"math"}
    assert {kernel for (step, kernel) in kernels if step != "0"} == {"flash"}


@pytest.mark.parametrize("sampler", FREE)
def test_sampler_without_steps_is_said_to_have_none(fresh_model, run, workbench, sampler):
    report, counting = run(workbench.backend(fresh_model, "math"), sampler)

    assert_told(report, counting, "role", "kernel")
    assert any("step" in note and "sampler" in note for note in report.payload["notes"])


@pytest.mark.parametrize("factor", [0.95, 0.82, 1.1])
def test_sampler_that_lies_about_sigma(fresh_model, run, workbench, factor):
    import comfy.samplers

    sampler = imitations.lying(comfy.samplers.sampler_object("euler"), factor)
    assert_steps(*run(workbench.backend(fresh_model, "math"), sampler, steps=20))


def test_rule_by_step_holds_under_a_lying_sampler(fresh_model, run, ruled):
    import comfy.samplers

    patched = ruled(fresh_model, ("any", "", "0%-10%", "math"), backend="flash")
    sampler = imitations.lying(comfy.samplers.sampler_object("euler"))
    _, counting = run(patched, sampler, steps=20)

    assert {
        int(step) for step, kernel in counting.counts("step", "kernel") if kernel == "math"
    } == {0, 1}


def detail_daemon(pack, inner):
    amounts = {"detail_amount": 0.5, "start": 0.0, "end": 1.0, "bias": 0.5, "exponent": 1.0}
    offsets = {"start_offset": 0.0, "end_offset": 0.0, "fade": 0.0, "smooth": True}
    given = {**amounts, **offsets, "cfg_scale_override": 0.0}
    return packs.node(pack, "DetailDaemonSamplerNode")(sampler=inner, **given)[0]


def lying_sigma(pack, inner):
    given = {"dishonesty_factor": -0.1, "start_percent": 0.0, "end_percent": 1.0}
    return packs.node(pack, "LyingSigmaSampler")(sampler=inner, **given)[0]


@pytest.mark.parametrize("node", [detail_daemon, lying_sigma])
@pytest.mark.parametrize("inner", ["euler", "heun", "dpmpp_2m"])
def test_real_detail_daemon(fresh_model, run, workbench, node, inner):
    import comfy.samplers

    pack = packs.load("ComfyUI-Detail-Daemon")
    sampler = node(pack, comfy.samplers.sampler_object(inner))
    assert_steps(*run(workbench.backend(fresh_model, "math"), sampler, steps=20))


RES4LYF = {
    "linear/euler": 1,
    "exponential/res_2s": 2,
    "exponential/res_3s": 3,
    "multistep/res_2m": 1,
}


@pytest.mark.parametrize(("name", "evaluations"), RES4LYF.items())
def test_real_res4lyf(fresh_model, workbench, request, name, evaluations):
    from comfy_execution.utils import CurrentNodeContext
    from wanattn.tests.host.counting import Counting

    sampler = packs.node(packs.load("RES4LYF"), "ClownsharKSampler_Beta")
    patched = workbench.backend(fresh_model, "math")
    given = {"positive": conditioning(patched, 11), "negative": conditioning(patched, 12)}
    given |= {"cfg": 2.0, "sampler_name": name, "scheduler": "simple", "steps": STEPS, "seed": 1}
    given |= {
        "bongmath": False,
        "eta": 0.5,
        "denoise": 1.0,
        "sampler_mode": "standard",
        "steps_to_run": -1,
    }
    latent = {"samples": torch.zeros(1, 16, 1, 8, 8)}
    with (
        Counting(patched) as counting,
        CurrentNodeContext("prompt", "sampler", 0),
        torch.inference_mode(),
    ):
        sampler(model=patched, latent_image=latent, **given)

    assert max(Counter(counting.steps).values()) >= evaluations
    assert_told(workbench.report(patched), counting, "role", "step", "kernel")
