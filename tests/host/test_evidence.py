"""What the report says ran is what the profiler counts, op by op."""

from collections import Counter

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from wanattn.tests.host.sampling import CALLS, sample

OPERATORS = {
    "flash": "aten::_scaled_dot_product_flash_attention_for_cpu",
    "math": "aten::_scaled_dot_product_attention_math",
}
RAN = {"flash": "flash", "math": "math", "efficient": "flash", "cudnn": "flash"}


def profiled(run):
    """How often each SDPA operator ran, by name and by the shapes of query and key."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, acc_events=True) as session:
        run()
    return Counter(
        (name, *map(tuple, event.input_shapes[:2]))
        for event in session.events()
        for name, operator in OPERATORS.items()
        if event.name == operator
    )


def reported(report):
    counts = Counter()
    for row in report.payload["rows"]:
        query = (row["batch"], row["heads"], row["q_len"], row["head_dim"])
        key = (row["batch"], row["heads"], row["kv_len"], row["head_dim"])
        counts[row["active"], query, key] += row["calls"]
    return counts


@pytest.mark.parametrize("kind", ["t2v", "i2v_tokens", "ti2v_5b"])
@pytest.mark.parametrize("backend", list(RAN))
def test_counts_equal_the_profiler(load, workbench, backend, kind):
    patched = workbench.backend(load(kind), backend)
    sample(
        patched, prompt="first"
    )  # here the host's own function is timed beside, once for each kind

    counted = profiled(lambda: sample(patched, prompt="counted"))

    report = workbench.report(patched)
    assert reported(report) == counted
    assert set(report.payload["totals"]) == {RAN[backend]}
    assert report.payload["calls"] == len(report.lines) == counted.total() > 0


@pytest.mark.parametrize("kind", ["t2v", "i2v_tokens", "ti2v_5b"])
def test_counts_of_auto_equal_the_profiler(load, workbench, kind):
    patched = workbench.backend(load(kind), "auto")
    sample(patched, prompt="measuring")  # here auto may time the backends, by calls of its own

    counted = profiled(lambda: sample(patched, prompt="counted"))

    report = workbench.report(patched)
    assert reported(report) == counted
    assert report.payload["calls"] == len(report.lines) == counted.total() > 0


def test_unpatched_model_is_told_by_the_profiler(load, workbench):
    model = load("t2v")
    counted = profiled(lambda: sample(model))
    watched = workbench.diagnostics(model)
    sample(watched)

    report = workbench.report(watched)
    assert reported(report) == counted
    assert report.counts("evidence", "requested", "active") == {
        ("profiled", "host", "flash"): CALLS
    }


def test_function_without_sdpa_is_told_by_its_name(load, workbench):
    from comfy.ldm.modules.attention import attention_sub_quad

    def someones_attention(func, *args, **kwargs):
        return attention_sub_quad(*args, **kwargs)

    model = load("t2v").clone()
    options = model.model_options["transformer_options"]
    options["optimized_attention_override"] = someones_attention
    watched = workbench.diagnostics(model)
    sample(watched)

    (active,) = workbench.report(watched).payload["totals"]
    assert "someones_attention" in active


def test_forced_backend_is_evidence_enough(load, workbench):
    patched = workbench.backend(load("t2v"), "math")
    sample(patched)

    assert workbench.report(patched).counts("evidence", "requested", "active", "reason") == {
        ("forced", "math", "math", ""): CALLS
    }


def test_profiler_of_someone_else_does_not_stop_sampling(load, workbench):
    watched = workbench.diagnostics(load("t2v"))

    counted = profiled(lambda: sample(watched))

    assert workbench.report(watched).payload["calls"] == counted.total() == CALLS


def test_toggles_of_torch_are_left_as_they_were(load, workbench):
    def toggles():
        cuda = torch.backends.cuda
        return cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()

    before = toggles()
    sample(workbench.backend(load("t2v"), "math"))

    assert toggles() == before
