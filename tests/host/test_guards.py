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

    noted.__module__ = plain.__module__  # it stands for the host's own
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


@pytest.mark.parametrize("behind", [True, False], ids=["diagnostics last", "backend last"])
def test_a_report_tells_what_every_node_of_the_chain_found(load, workbench, rough, behind):
    """As in the template: Attention Backend, Attention Diagnostics, Attention Run Report."""
    model = load("t2v")
    capture = {"capture": "0", "evidence": "off"}
    if behind:
        model = workbench.backend(model, "int8")
        (model,) = workbench.run("WanAttnDiagnostics", "20", model=model, **capture)
    else:
        (model,) = workbench.run("WanAttnDiagnostics", "20", model=model, **capture)
        model = workbench.backend(model, "int8")
    rough.append(1)
    sample(model)

    workbench.extra_pnginfo = {}
    report = workbench.report(model)
    warning = "int8: output not finite in step 0, block 0; self calls left it"
    assert warning in report.payload["notes"] and warning in report.text
    assert len([note for note in report.payload["notes"] if note.startswith("capture: ")]) >= 2
    assert warning in workbench.extra_pnginfo["wanattn"]["30"]["notes"]


def test_a_node_before_another_that_leaves_calls_keeps_its_say(load, workbench):
    first = workbench.backend(load("t2v"), "math", at="10")
    both = workbench.backend(first, "host", at="11")
    sample(both)

    report = workbench.report(first)
    assert report.payload["totals"] == {"math": CALLS}
    assert not any("after this node" in note for note in report.payload["notes"])


@pytest.mark.parametrize("metadata", [{"wanattn": "mine"}, {"wanattn": None}, [1], "x", None])
def test_odd_metadata_costs_no_report(load, workbench, metadata):
    patched = workbench.backend(load("t2v"), "flash")
    sample(patched)

    workbench.extra_pnginfo = metadata
    assert workbench.report(patched).payload["totals"] == {"flash": CALLS}
    if isinstance(metadata, dict):
        assert metadata["wanattn"]["30"]["totals"] == {"flash": CALLS}


@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        (lambda out: None, "TypeError: gave NoneType, needs a tensor"),
        (lambda out: out[..., :4], "TypeError: gave a tensor of shape (2, 2, 320, 4), needs "),
    ],
)
def test_a_kernel_that_gives_nonsense_is_left_for_the_next(
    load, workbench, monkeypatch, gives, reason
):
    from wanattn.attention.backends import BACKENDS

    flash = BACKENDS["flash"]
    odd = dataclasses.replace(flash, run=lambda *call: gives(flash.run(*call)))
    model = load("t2v")
    expected = sample(model)
    monkeypatch.setitem(BACKENDS, "flash", odd)
    patched = workbench.backend(model, "flash")

    torch.testing.assert_close(sample(patched), expected, rtol=1e-4, atol=1e-4)
    payload = workbench.report(patched).payload
    assert payload["totals"] == {"math": CALLS}
    assert reason in payload["fallbacks"][0]["reason"]


def test_a_kernel_that_gives_another_dtype_breaks_no_model(load, workbench, monkeypatch):
    from wanattn.attention.backends import BACKENDS

    flash = BACKENDS["flash"]
    odd = dataclasses.replace(flash, run=lambda *call: flash.run(*call).double())
    model = load("t2v")
    expected = sample(model)
    monkeypatch.setitem(BACKENDS, "flash", odd)

    patched = workbench.backend(model, "flash")

    torch.testing.assert_close(sample(patched), expected, rtol=1e-4, atol=1e-4)
    assert workbench.report(patched).payload["totals"] == {"flash": CALLS}


def test_a_compiled_graph_without_a_node_runs_the_hosts_attention(
    load, workbench, compile_model, monkeypatch
):
    """Not torch's: the host may have been started with another."""
    import comfy.ldm.modules.attention as host

    model = load("t2v")
    sample(compile_model(workbench.backend(model, "flash")))
    asked = []

    def noted(*call, **facts):
        asked.append(1)
        return host.attention_sub_quad(*call, **facts)

    monkeypatch.setattr(host, "optimized_attention", noted)
    sample(compile_model(model))

    assert len(asked) == CALLS


@pytest.mark.parametrize(
    ("node", "inputs", "sentence"),
    [
        (
            "WanAttnBackend",
            {"rules": "all"},
            "rules is str, needs the output of Attention Backend Rule",
        ),
        (
            "WanAttnBackend",
            {"rules": [1]},
            "rules is list, needs the output of Attention Backend Rule",
        ),
        ("WanAttnDiagnostics", {"capture": "0", "capture_limit_gib": float("nan")}, "nan, needs"),
        ("WanAttnDiagnostics", {"capture": "0", "capture_limit_gib": float("inf")}, "inf, needs"),
    ],
)
def test_values_that_no_widget_gives_are_a_sentence(load, workbench, node, inputs, sentence):
    needed = {"backend": "flash", "on_refusal": "stop"} if node == "WanAttnBackend" else {}

    with pytest.raises(ValueError, match=sentence):
        workbench.run(node, "10", model=load("t2v"), **needed, **inputs)


def test_no_rules_from_a_program_are_none(load, workbench):
    named = {"backend": "flash", "on_refusal": "stop"}
    (patched,) = workbench.run("WanAttnBackend", "10", model=load("t2v"), **named, rules=None)
    sample(patched)

    assert workbench.report(patched).payload["totals"] == {"flash": CALLS}


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
