"""The patch changes which kernel runs, never the picture, and leaves nothing behind."""

import pytest
import torch
from wanattn.tests.host.sampling import CALLS, sample

KINDS = ["t2v", "i2v", "i2v_tokens", "ti2v_5b"]


@pytest.mark.parametrize("backend", ["flash", "math", "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_backend_gives_the_unpatched_result(load, workbench, kind, backend):
    model = load(kind)

    patched = sample(workbench.backend(model, backend))

    assert_fp32_equal(patched, sample(model))


@pytest.mark.parametrize("kind", KINDS)
def test_host_backend_and_diagnostics_change_no_bit(load, workbench, kind):
    model = load(kind)
    before = sample(model)

    assert torch.equal(sample(workbench.backend(model, "host")), before)
    assert torch.equal(sample(workbench.diagnostics(model)), before)


@pytest.mark.parametrize("backend", ["flash", "math", "host"])
def test_removing_the_node_leaves_no_trace(load, workbench, backend):
    model = load("t2v")
    before, options = sample(model), repr(model.model_options)

    sample(workbench.diagnostics(workbench.backend(model, backend)))

    assert torch.equal(sample(model), before)
    assert repr(model.model_options) == options
    assert not model.wrappers and not model.callbacks


def test_second_model_stays_untouched(load, workbench):
    first, second = load("t2v", 1), load("t2v", 2)
    before = sample(second)
    patched = workbench.backend(first, "math")
    sample(patched)

    assert torch.equal(sample(second), before)
    assert workbench.report(patched).payload["totals"] == {"math": CALLS}


def test_node_survives_on_the_same_weights_under_two_settings(load, workbench):
    model = load("t2v")
    math, flash = workbench.backend(model, "math"), workbench.backend(model, "flash")
    sample(math)
    sample(flash)

    assert set(workbench.report(math).payload["totals"]) == {"math"}
    assert set(workbench.report(flash).payload["totals"]) == {"flash"}


def assert_fp32_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
