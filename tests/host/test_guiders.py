"""Every guider of the host: each call under the conditioning, by name, that it was made for."""

from __future__ import annotations

import pytest
import torch
from wanattn.tests.host.account import assert_account, assert_told, conds_of, true_conds_of
from wanattn.tests.host.sampling import conditioning, empty_latent

SEEDS = {"positive": 11, "negative": 12, "middle": 13, "empty": 14}


def texts(model):
    return {name: conditioning(model, seed) for name, seed in SEEDS.items()}


def guide(guider, *conds, **given):
    guider.set_conds(*conds)
    if given:
        guider.set_cfg(**given)
    return guider


def basic(model, text):
    from comfy_extras.nodes_custom_sampler import Guider_Basic

    return guide(Guider_Basic(model), text["positive"])


def cfg(model, text):
    from comfy.samplers import CFGGuider

    return guide(CFGGuider(model), text["positive"], text["negative"], cfg=3.0)


def dual(model, text, **named):
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    guider = Guider_DualCFG(model)
    guider.set_cfg(3.0, 2.0, **named)
    return guide(guider, text["positive"], text["middle"], text["negative"])


def dual_nested(model, text):
    return dual(model, text, nested=True)


def perpendicular(model, text):
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    guider = Guider_PerpNeg(model)
    guider.set_conds(text["positive"], text["negative"], text["empty"])
    guider.set_cfg(3.0, 1.0)
    return guider


GUIDERS = {
    "basic": (basic, {"positive"}),
    "cfg": (cfg, {"positive", "negative"}),
    "dual cfg": (dual, {"positive", "negative", "middle"}),
    "dual cfg nested": (dual_nested, {"positive", "negative", "middle"}),
    "perp neg": (perpendicular, {"positive", "negative", "empty"}),
}
BY_NUMBER = "the conditionings are told by the guider's own numbers"


@pytest.fixture
def run(load, workbench):
    from comfy_execution.utils import CurrentNodeContext
    from wanattn.tests.host.counting import Counting

    def run(make, patched):
        import comfy.samplers

        text = texts(patched)
        latent = empty_latent(patched)
        sampling = patched.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", 2)
        noise = comfy.sample.prepare_noise(latent, 3)
        sampler = comfy.samplers.sampler_object("euler")
        known = {name: cond[0][0] for name, cond in text.items()}
        with (
            Counting(patched, known) as counting,
            CurrentNodeContext("prompt", "sampler", 0),
            torch.inference_mode(),
        ):
            make(patched, text).sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=3)
        return workbench.report(patched), counting

    return run


@pytest.mark.parametrize("name", GUIDERS)
def test_guiders_conditionings_by_name(load, workbench, run, name):
    make, expected = GUIDERS[name]
    report, counting = run(make, workbench.backend(load("t2v"), "math"))

    assert {cond for call in counting.calls for cond in call.conds} == expected
    assert_told(report, counting)
    told = {
        tuple(name.partition("_")[0] for name in names): n for names, n in conds_of(report).items()
    }
    assert told == dict(true_conds_of(counting))
    assert_account(report, len(counting.calls), len(counting.calls))
    assert not report.payload["notes"] and "!" not in report.text


@pytest.fixture
def two_models(load):
    """Samples under DualModelGuider; gives what was counted of either model, and the latent."""
    nodes = pytest.importorskip("comfy_extras.nodes_custom_sampler")
    if not hasattr(nodes, "Guider_DualModel"):
        pytest.skip("this ComfyUI has no DualModelGuider")
    from comfy_execution.utils import CurrentNodeContext
    from wanattn.tests.host.counting import Counting

    def two_models(main, other):
        import comfy.sample
        import comfy.samplers

        text = texts(main)
        given = {"positive": text["positive"], "negative": text["negative"]}
        made = nodes.DualModelGuider.execute(model=main, cfg=3.0, model_negative=other, **given)
        latent = empty_latent(main)
        sampling = main.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", 2)
        noise = comfy.sample.prepare_noise(latent, 3)
        run = (noise, latent, comfy.samplers.sampler_object("euler"), sigmas)
        known = {name: cond[0][0] for name, cond in text.items()}
        with (
            Counting(main, known) as first,
            Counting(other, known) as second,
            CurrentNodeContext("prompt", "sampler", 0),
            torch.inference_mode(),
        ):
            latent = made.result[0].sample(*run, disable_pbar=True, seed=3)
        return first, second, latent

    return two_models


def test_two_models_under_one_guider(load, workbench, two_models):
    main, other = (workbench.backend(load("t2v", seed), "math", at=str(seed)) for seed in (1, 2))

    first, second, _ = two_models(main, other)

    assert (set(true_conds_of(first)), set(true_conds_of(second))) == (
        {("positive",)},
        {("negative",)},
    )
    for patched, counting in ((main, first), (other, second)):
        report = workbench.report(patched)
        assert conds_of(report) == true_conds_of(counting)
        assert_told(report, counting)
    assert "2 forwards of this run were another model's" in workbench.report(main).text


def test_each_of_two_models_has_its_own_backend(load, workbench, two_models):
    main = workbench.diagnostics(workbench.backend(load("t2v", 1), "math"))
    other = workbench.diagnostics(workbench.backend(load("t2v", 2), "split", at="11"), at="21")

    first, _, _ = two_models(main, other)

    assert set(first.counts("kernel")) == {("math",)}
    for patched, backend in ((main, "math"), (other, "split")):
        report = workbench.report(patched)
        assert report.payload["totals"] == {backend: len(first.calls)}


@pytest.mark.parametrize("backend", ["math", "host"])
def test_second_model_without_nodes_is_left_alone_and_said(load, workbench, two_models, backend):
    plain = load("t2v", 1)
    *_, alone = two_models(plain, load("t2v", 2))
    main = workbench.diagnostics(workbench.backend(plain, backend))

    first, second, latent = two_models(main, load("t2v", 2))

    assert set(second.counts("kernel")) == {("flash",)}
    report = workbench.report(main)
    assert_told(report, first)
    assert "(WanModel): this node neither tells nor changes them" in report.text
    assert backend != "host" or torch.equal(latent, alone)


def test_second_model_keeps_the_first_ones_other_override(load, workbench, two_models):
    def halved(func, *args, **named):
        asked.append(func)
        return func(*args, **named) * 0.5

    asked: list = []
    model = load("t2v", 1).clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = halved
    *_, alone = two_models(model, load("t2v", 2))
    calls = len(asked)

    *_, latent = two_models(workbench.diagnostics(model), load("t2v", 2))

    assert torch.equal(latent, alone) and len(asked) == 2 * calls
