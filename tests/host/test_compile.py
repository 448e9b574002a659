"""Under the host's TorchCompileModel node: the same picture, no broken graph, and the node says what it knows."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch._dynamo.utils import counters
from wanattn.tests.host.sampling import CALLS, sample


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def breaks_and_graphs() -> tuple[int, int]:
    return sum(counters["graph_break"].values()), counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("first", ["patch", "compile"])
@pytest.mark.parametrize("backend", ["flash", "math", "auto"])
def test_graph_stays_whole_and_calls_are_recorded(load, workbench, compile_model, backend, first):
    model = load("t2v")
    expected = sample(compile_model(model))
    without = breaks_and_graphs()
    torch.compiler.reset()
    counters.clear()
    if first == "patch":
        patched = compile_model(workbench.backend(model, backend))
    else:
        patched = workbench.backend(compile_model(model), backend)

    latent = sample(patched)

    assert breaks_and_graphs() == without
    torch.testing.assert_close(latent, expected, rtol=1e-4, atol=1e-4)
    report = workbench.report(patched)
    assert report.payload["calls"] == CALLS
    assert sum(report.payload["totals"].values()) == CALLS
    assert any("replayed as a CUDA graph" in note for note in report.payload["notes"])
    assert report.counts("step", "block", "role") == {
        (step, block, role): 1 for step in "01" for block in "01" for role in ("self", "text")
    }


def test_calls_left_to_the_host_stay_in_the_graph_and_the_node_says_so(
    load, workbench, compile_model
):
    model = load("t2v")
    expected = sample(compile_model(model))
    without = breaks_and_graphs()
    torch.compiler.reset()
    counters.clear()
    watched = workbench.diagnostics(compile_model(model))

    latent = sample(watched)

    assert torch.equal(latent, expected)
    assert breaks_and_graphs() == without
    note = "compiled: per-call records end where the compiled graph begins"
    assert note in workbench.report(watched).payload["notes"]


def test_graph_made_under_one_setting_serves_the_next(load, workbench, compile_model):
    model = load("t2v")
    sample(compile_model(workbench.backend(model, "flash")))
    math = compile_model(workbench.backend(model, "math"))

    sample(math)

    assert workbench.report(math).payload["totals"] == {"math": CALLS}


def test_graph_made_without_the_node_is_renewed_once(load, workbench, compile_model):
    model = load("t2v")
    expected = sample(compile_model(model))
    patched = compile_model(workbench.backend(model, "math"))

    latent = sample(patched)
    report = workbench.report(patched)
    assert report.payload["totals"] == {"math": CALLS // 2}
    assert any("older than this node" in note for note in report.payload["notes"])

    sample(patched, prompt="next prompt")
    report = workbench.report(patched)
    assert report.payload["totals"] == {"math": CALLS}
    assert not any("older than this node" in note for note in report.payload["notes"])
    torch.testing.assert_close(latent, expected, rtol=1e-4, atol=1e-4)


def test_graph_made_with_the_node_runs_the_hosts_function_for_one_that_watches(
    load, workbench, compile_model
):
    model = load("t2v")
    sample(compile_model(workbench.backend(model, "math")))
    watched = workbench.diagnostics(compile_model(model))

    latent = sample(watched)

    torch.testing.assert_close(latent, sample(model), rtol=1e-4, atol=1e-4)
    payload = workbench.report(watched).payload
    assert (payload["calls"], payload["totals"]) == (CALLS, {"flash": CALLS})
    assert {row["requested"] for row in payload["rows"]} == {"host"}


def test_removing_the_node_leaves_the_compiled_result(load, workbench, compile_model):
    model = load("t2v")
    sample(compile_model(workbench.backend(model, "math")))

    latent = sample(compile_model(model))

    torch.testing.assert_close(latent, sample(model), rtol=1e-4, atol=1e-4)


def test_backend_that_breaks_inside_the_graph_is_left_for_the_next(
    load, workbench, compile_model, monkeypatch
):
    import dataclasses

    from wanattn.attention.backends import BACKENDS

    def broken(*call):
        raise torch.OutOfMemoryError("no room for this kernel")

    model = load("t2v")
    monkeypatch.setitem(BACKENDS, "flash", dataclasses.replace(BACKENDS["flash"], run=broken))
    patched = compile_model(workbench.backend(model, "flash"))

    latent = sample(patched)

    torch.testing.assert_close(latent, sample(model), rtol=1e-4, atol=1e-4)
    payload = workbench.report(patched).payload
    assert payload["totals"] == {"math": CALLS}
    assert "no room for this kernel" in payload["fallbacks"][0]["reason"]


def test_stop_ends_the_run_with_the_sentence(load, workbench, compile_model):
    patched = compile_model(workbench.backend(load("t2v"), "cudnn", "stop"))

    with pytest.raises(RuntimeError, match="cuDNN does not exist on cpu"):
        sample(patched)


def test_rules_that_change_from_step_to_step_need_no_second_graph(load, workbench, compile_model):
    model = load("t2v")
    rules = None
    for step, backend in (("0", "host"), ("2-", "math")):
        rule = {"role": "any", "blocks": "", "steps": step, "backend": backend}
        rules = workbench.run(
            "WanAttnRule", "5", **rule, **({} if rules is None else {"rules": rules})
        )[0]
    inputs = {"model": model, "backend": "split", "on_refusal": "next best", "rules": rules}
    patched = compile_model(workbench.run("WanAttnBackend", "10", **inputs)[0])

    latent = sample(patched, steps=4)

    torch.testing.assert_close(latent, sample(model, steps=4), rtol=1e-4, atol=1e-4)
    assert workbench.report(patched).counts("step", "requested", "active") == {
        ("0", "host", "flash"): 4,
        ("1", "split", "split"): 4,
        ("2", "math", "math"): 4,
        ("3", "math", "math"): 4,
    }
    assert breaks_and_graphs() == (0, 1)


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler for inductor")
def test_the_hosts_own_node_with_its_own_compiler(load, workbench):
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    model = load("t2v")
    patched = workbench.backend(model, "sub_quad")
    (patched,) = TorchCompileModel.execute(patched, "inductor").args

    latent = sample(patched)

    torch.testing.assert_close(latent, sample(model), rtol=1e-3, atol=1e-3)
    assert workbench.report(patched).payload["totals"] == {"sub_quad": CALLS}
    assert breaks_and_graphs() == (0, 1)


def test_aot_autograd_takes_the_operator(load, workbench, compile_model):
    model = load("t2v")
    patched = compile_model(workbench.backend(model, "math"), "aot_eager")

    latent = sample(patched)

    torch.testing.assert_close(latent, sample(model), rtol=1e-4, atol=1e-4)
    assert workbench.report(patched).payload["totals"] == {"math": CALLS}
