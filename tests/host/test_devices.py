"""The host's MultiGPU CFG Split: a thread and a copy of the model for each device, here both on the CPU."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from wanattn.tests.host import sampling
from wanattn.tests.host.account import assert_told, conds_of, true_conds_of


@pytest.fixture
def split(comfy, tmp_path, monkeypatch):
    """A model that is split for two devices of two names: what is computed on `cpu:0` is told as `cpu`."""
    multigpu = pytest.importorskip("comfy.multigpu", reason="this ComfyUI has no MultiGPU nodes")
    import comfy.model_management
    from wanattn.tests.host import tiny

    devices = [torch.device("cpu"), torch.device("cpu:0")]
    monkeypatch.setattr(
        comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: devices
    )
    path = tiny.save_wan(tmp_path, "t2v")

    def split(change=lambda model: model):
        model = change(comfy.sd.load_diffusion_model(str(path)))
        return multigpu.create_multigpu_deepclones(model, 2)

    return split


@pytest.fixture
def run(workbench):
    from wanattn.tests.host.counting import Counting

    def run(patched, **chosen):
        texts = {"positive": 11, "negative": 12}
        known = {name: sampling.conditioning(patched, seed)[0][0] for name, seed in texts.items()}
        (copy,) = patched.get_additional_models_with_key("multigpu")
        with Counting(patched, known) as here, Counting(copy, known) as there:
            latent = sampling.sample(patched, **chosen)
        assert here.calls and there.calls, "one of the devices had nothing to do"
        here.calls += there.calls
        return workbench.report(patched), here, latent

    return run


def test_calls_of_both_devices_are_told(split, run, workbench):
    patched = split(lambda m: workbench.diagnostics(workbench.backend(m, "flash")))
    report, counting, _ = run(patched)

    assert set(counting.counts("kernel")) == {("flash",)}
    assert_told(report, counting, "role", "block", "kernel")
    assert conds_of(report) == true_conds_of(counting)
    assert report.counts("step") == {("0",): 8, ("1",): 8}
    assert report.payload["notes"] == []


def test_a_split_model_gives_what_the_whole_gives(split, run, workbench):
    plain = sampling.sample(split())

    assert torch.equal(run(split(workbench.diagnostics))[2], plain)


def test_calls_past_the_hook_know_their_module_on_every_device(split, run, workbench):
    patched = split(workbench.diagnostics)
    for part in (patched, *patched.get_additional_models_with_key("multigpu")):
        for block in part.model.diffusion_model.blocks:
            bare(block)
    report, counting, _ = run(patched)

    assert_told(report, counting, "role", "block")
    past = report.payload["account"]["past"]
    assert sum(part["calls"] for part in past) == len(counting.calls) // 2
    assert {part["role"] for part in past} == {"text"}
    assert all("forward of" in part["how"] for part in past)


def bare(block) -> None:
    """As packs do it: text attention without the options, on the module itself."""
    plain = block.cross_attn.forward

    def without_options(x, context, transformer_options=None, **named):
        return plain(x, context, **named)

    block.cross_attn.forward = without_options


RULES = [("self", "", "", "math"), ("any", "1", "", "math"), ("any", "", "1", "math")]


@pytest.mark.parametrize("rule", RULES)
def test_rules_hold_on_every_device(split, run, ruled, rule):
    """In these threads torch takes math apart before anybody can count it."""
    report, counting, _ = run(split(lambda m: ruled(m, rule)))

    others = report.counts("role", "block", "active")
    assert counting.counts("role", "block", "kernel") == +Counter(
        {place: calls for place, calls in others.items() if place[2] == "flash"}
    )
    assert report.payload["totals"] == {"math": 8, "flash": 8}
    told = {
        (line["role"], line["block"], line["step"])
        for line in report.lines
        if line["active"] == "math"
    }
    role, block, step, _ = rule
    assert all(
        wanted in ("", "any", value)
        for place in told
        for wanted, value in zip((role, block, step), place, strict=True)
    )
