"""What keeps a picture from being spoiled in silence, in the real host."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from wanattn.tests.host.sampling import CALLS, sample


@pytest.fixture
def rough(monkeypatch):
    """`int8` made to run here; its outputs are spoiled while `spoiled` holds anything."""
    from wanattn.attention.backends import BACKENDS

    spoiled = []

    def run(q, k, v, mask=None, scale=None):
        out = F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
        return out * torch.nan if spoiled else out

    able = {"refusals": lambda call, environment: [], "run": run}
    monkeypatch.setitem(BACKENDS, "int8", dataclasses.replace(BACKENDS["int8"], **able))
    return spoiled


@pytest.fixture
def protects(comfy):
    """Whether this host marks the calls that must not be computed in low precision."""
    import inspect

    from comfy.ldm.wan import model

    if "low_precision_attention" not in inspect.getsource(model):
        pytest.skip("this ComfyUI marks no call as one for full precision")


def test_calls_that_the_model_protects_run_on_an_exact_backend(load, workbench, rough, protects):
    patched = workbench.backend(load("i2v_tokens"), "int8")
    sample(patched)

    report = workbench.report(patched)
    assert set(report.counts("role", "active")) == {
        ("self", "int8"),
        ("text", "int8"),
        ("image", "flash"),
    }
    (fallback,) = report.payload["fallbacks"]
    assert fallback["reason"] == "the model asks for full precision in these calls"


@pytest.mark.parametrize("backend", ["int8", "host"])
def test_protection_reaches_through_a_compiled_graph(
    load,
    workbench,
    rough,
    protects,
    compile_model,
    ruled,
    monkeypatch,
    backend,
):
    import comfy.ldm.modules.attention as host

    asked = []
    plain = host.optimized_attention

    def noted(q, k, v, heads, **facts):
        asked.append(facts.get("low_precision_attention", True))
        return plain(q, k, v, heads, **facts)

    monkeypatch.setattr(host, "optimized_attention", noted)
    patched = ruled(load("i2v_tokens"), ("image", "", "", backend), backend="int8")
    sample(compile_model(patched))

    counts = workbench.report(patched).counts("role", "active")
    assert ("self", "int8") in counts and ("image", "int8") not in counts
    assert set(asked) == ({False} if backend == "host" else set())


def test_a_spoiled_run_is_still_told_after_the_next_run_of_the_job(load, workbench, rough):
    patched = workbench.backend(load("t2v"), "int8")
    rough.append(1)
    sample(patched, steps=1)
    rough.clear()
    sample(patched)

    warning = "int8: output not finite in step 0, block 0; self calls left it"
    notes = workbench.report(patched).payload["notes"]
    assert f"sampler run 1: {warning}" in notes

    sample(patched, prompt="another")
    assert not any("not finite" in note for note in workbench.report(patched).payload["notes"])


def test_the_later_of_two_nodes_decides_and_the_first_says_so(load, workbench):
    first = workbench.backend(load("t2v"), "math", at="10")
    both = workbench.backend(first, "flash", at="11")
    sample(both)

    notes = workbench.report(first).payload["notes"]
    assert "another Attention Backend after this one decides" in notes
    assert workbench.report(both).payload["totals"] == {"flash": CALLS}


def test_a_rule_that_no_call_fits_says_so(load, workbench, ruled):
    patched = ruled(load("t2v"), ("image", "", "", "math"))
    sample(patched)

    notes = workbench.report(patched).payload["notes"]
    assert "rule image: math (no such call in this run)" in notes
