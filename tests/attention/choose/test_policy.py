from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from wanattn.attention.backends import BACKENDS, packages
from wanattn.attention.choose.policy import (
    HOST,
    NoBackend,
    Policy,
    auto_order,
    candidates,
    choose,
    eligible,
)


def test_unknown_backend_names_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown backend 'sgae'; expected one of 'auto', .*'host'"
    ):
        Policy("sgae")


def test_unknown_refusal_policy_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown on_refusal 'maybe'; expected one of 'next best'"):
        Policy("flash", "maybe")


@pytest.mark.parametrize("capability", [(9, 0), (10, 0), (10, 3)])
def test_cudnn_leads_on_hopper_and_data_centre_blackwell(make_call, make_environment, capability):
    order = auto_order(make_call(), make_environment(capability))

    assert order == ("cudnn", "flash", "efficient", "math")


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 9), (12, 0)])
def test_flash_leads_elsewhere(make_call, make_environment, capability):
    order = auto_order(make_call(), make_environment(capability))

    assert order == ("flash", "cudnn", "efficient", "math")


def test_auto_takes_the_first_that_accepts(make_call, make_environment, no_package):
    choice = choose(make_call(), make_environment(), Policy("auto"))

    assert (choice.backend.name, choice.rejected, choice.reason) == ("cudnn", (), "")


def test_a_named_backend_comes_before_the_order(make_call, make_environment):
    assert candidates(make_call(), make_environment(), Policy("efficient")) == (
        "efficient",
        "cudnn",
        "flash",
        "math",
    )


def test_stop_asks_only_the_named_backend(make_call, make_environment):
    choice = choose(make_call(mask="float"), make_environment(), Policy("flash", "stop"))

    assert choice.backend is None
    assert [(r.name, r.reasons) for r in choice.rejected] == [
        ("flash", ("masked call, kernel takes no mask",))
    ]


@pytest.mark.parametrize(
    ("policy", "backend", "reason"),
    [
        (Policy("flash", "stop"), None, "FlashAttention does not exist on xpu"),
        (Policy("flash"), HOST, "torch's kernels cannot be chosen one by one on xpu"),
        (Policy("auto", "stop"), HOST, "torch's kernels cannot be chosen one by one on xpu"),
    ],
)
def test_on_a_device_without_a_choice_only_a_named_backend_that_must_run_stops(
    make_call, make_environment, policy, backend, reason
):
    choice = choose(make_call(device="xpu:0"), make_environment(), policy)

    assert (choice.backend, choice.reason) == (backend, reason)


def test_words_that_come_from_a_file_are_as_good_as_those_in_the_source(
    make_call, make_environment, monkeypatch
):
    """Python keeps those in the source as one object each."""
    backend, on_refusal, device = json.loads('["auto", "stop", "cuda:0"]')
    policy, call = Policy(backend, on_refusal), make_call(device=device)
    monkeypatch.setattr(packages, "find", lambda package: packages.Found(print))

    asked = candidates(call, make_environment(), policy)

    assert {"fa3", "fa2"} <= set(asked) and asked[-4:] == auto_order(call, make_environment())
    assert NoBackend(call, policy, ()).advice == "Set backend to 'host' to let ComfyUI decide."


def test_choice_and_rejections_cover_the_candidates_up_to_the_choice(make_call, make_environment):
    call, environment = make_call(dtype=torch.float32), make_environment()

    choice = choose(call, environment, Policy("flash"))

    asked = [rejection.name for rejection in choice.rejected] + [choice.backend.name]
    assert asked == list(candidates(call, environment, Policy("flash")))[: len(asked)]
    assert choice.backend.name == "efficient"
    assert "flash: dtype float32, needs float16 or bfloat16" in choice.reason


def test_a_single_rejection_needs_no_name(make_call, make_environment):
    call = make_call(device="cpu", dtype=torch.float32)

    choice = choose(call, make_environment(), Policy("cudnn"))

    assert (choice.backend.name, choice.reason) == ("flash", "cuDNN does not exist on cpu")


def test_a_backend_that_broke_is_passed_over_with_its_reason(make_call, make_environment):
    broken = {"cudnn": ("RuntimeError: no valid execution plans",)}

    choice = choose(make_call(), make_environment(), Policy("cudnn"), broken)

    assert (choice.backend.name, choice.reason) == ("flash", broken["cudnn"][0])


@pytest.mark.parametrize(("short_way", "needed"), [(True, "1026.3"), (False, "2052.7")])
def test_math_that_cannot_fit_is_refused_with_the_number(
    make_call, make_environment, monkeypatch, short_way, needed
):
    allowed = "fp16_bf16_reduction_math_sdp_allowed"
    monkeypatch.setattr(torch.backends.cuda, allowed, lambda: short_way)
    environment = make_environment(free_memory=lambda device: 60 * 2**30)
    call = make_call(q_len=82992, kv_len=82992)

    choice = choose(call, environment, Policy("math", "stop"))

    assert choice.backend is None
    reason = f"score matrix and its softmax need {needed} GiB, 60.0 GiB free"
    assert choice.rejected[0].reasons == (reason,)


def test_the_error_names_the_call_every_reason_and_the_way_out(make_call, make_environment):
    call, policy = make_call(mask="float"), Policy("flash", "stop")

    error = NoBackend(call, policy, choose(call, make_environment(), policy).rejected)

    assert str(error).splitlines() == [
        "Attention Backend 'flash' cannot run this call.",
        "  self query 1x40x32760x128, 32760 keys, bfloat16 on cuda:0, float mask",
        "  flash: masked call, kernel takes no mask",
        "Set on_refusal to 'next best', or choose another backend.",
    ]


def test_math_is_not_measured_on_a_card_where_another_can_run(
    make_call, make_environment, monkeypatch
):
    """Whatever the others are called: packages come before and after it in the alphabet."""
    monkeypatch.setattr(packages, "find", lambda package: packages.Found(print))
    able = {
        name: dataclasses.replace(backend, refusals=lambda call, environment: [], gate=None)
        for name, backend in BACKENDS.items()
    }
    asked = make_call(), make_environment(), Policy("auto")
    others = [name for name in candidates(*asked, able) if name != "math"]

    assert {"flash", "xformers", "fa3"} <= set(others)
    assert [backend.name for backend in eligible(*asked, able)] == others
