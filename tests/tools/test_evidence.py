"""The script behind docs/evidence: which findings of its profiler agree with what the pack reports."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import BACKENDS
from wanattn.attention.choose import policy
from wanattn.attention.record.record import Sighting

FIGURES = Path(__file__).parents[2] / "tools" / "figures"
FLASH = "aten::_scaled_dot_product_flash_attention"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FIGURES))
    spec = importlib.util.spec_from_file_location("evidence_figure", FIGURES / "evidence.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("pack", None)


@pytest.mark.parametrize(
    ("reported", "backends", "kernels", "agrees"),
    [
        ("flash", ["flash"], ["void flash_fwd_kernel<>"], True),
        ("flash", ["efficient"], ["fmha_cutlassF_bf16"], False),
        ("flash", ["flash"], ["fmha_cutlassF_bf16"], False),
        ("flash", [], ["void flash_fwd_kernel<>"], False),
        ("math", ["math"], ["gemm", "softmax"], True),
        ("fa3", [], ["FlashAttnFwdSm90"], True),
        ("fa2", [], ["void flash_fwd_kernel<>"], True),
        ("sage", [], ["qk_int_sv_f16"], True),
        ("xformers", [], ["fmha_cutlassF_bf16"], True),
        ("fa3", ["flash"], ["void flash_fwd_kernel<>"], False),
        ("fa3", [], [], False),
        ("torch_fa3", ["flash"], ["void flash_fwd_kernel<>"], True),
    ],
)
def test_a_packages_kernel_agrees_where_no_operator_of_torch_was_seen(
    script, reported, backends, kernels, agrees
):
    seen = Sighting(tuple(backends), (), tuple(kernels))

    assert (script.disagreement(reported, seen, "cuda") == "") is agrees


def plain(q, k, v, mask=None, scale=None):
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5)
    return torch.softmax(scores, dim=-1) @ v


def through_torch(q, k, v, mask=None, scale=None):
    return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize(("run", "agrees"), [(plain, True), (through_torch, False)])
def test_a_kernel_that_runs_torchs_own_is_caught(script, monkeypatch, run, agrees):
    kernel = dataclasses.replace(BACKENDS["math"], name="fa3", run=run)
    monkeypatch.setitem(policy.BACKENDS, "fa3", kernel)

    reported, wrong = script.compare("cpu", "fa3", torch.float32, "none", "text", 1)

    assert reported == "fa3" and (wrong == "") is agrees
    assert agrees or "reported fa3, seen flash" in wrong


@pytest.mark.parametrize(("wish", "ran"), [("flash", "flash"), ("math", "math"), ("host", "flash")])
def test_torchs_own_kernels_agree_by_their_operator(script, wish, ran):
    assert script.compare("cpu", wish, torch.float32, "none", "self", 1) == (ran, "")
