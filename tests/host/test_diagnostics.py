"""Attention Diagnostics: what it asks, and what it refuses."""

from __future__ import annotations

import pytest

INFINITE, NONE = float("inf"), float("nan")


def test_all_that_is_asked_has_a_default_and_bounds(workbench):
    node = workbench.nodes["WanAttnDiagnostics"]
    inputs = node.GET_NODE_INFO_V1()["input"]
    (_, evidence), (_, capture), (_, limit) = inputs["optional"].values()

    assert list(inputs["required"]) == ["model"]
    assert list(inputs["optional"]) == ["evidence", "capture", "capture_limit_gib"]
    assert (evidence["default"], capture["default"]) == ("sample", "")
    bounds = {name: limit[name] for name in ("default", "min", "max", "step")}
    assert bounds == {"default": 4.0, "min": 0.1, "max": 1000.0, "step": 0.1}


def test_an_equal_node_is_run_for_itself(workbench):
    assert workbench.nodes["WanAttnDiagnostics"].NOT_IDEMPOTENT is True


@pytest.mark.parametrize(
    ("capture", "told"),
    [
        (None, True),
        ("", True),
        ("0-9,39", True),
        ("0-9,5", "capture: ranges 0-9 and 5 overlap"),
    ],
)
def test_ranges_are_refused_before_anything_runs(workbench, capture, told):
    assert workbench.nodes["WanAttnDiagnostics"].validate_inputs(capture) == told


@pytest.mark.parametrize("capture", ["0", ""])
@pytest.mark.parametrize("limit", [0.0, -0.5, -INFINITE, INFINITE, NONE])
def test_a_limit_that_leaves_no_room_or_no_end_is_refused(load, workbench, capture, limit):
    from wanattn.nodes.diagnostics import keeper_of

    with pytest.raises(ValueError, match=f"^capture_limit_gib {limit}, needs more than 0$"):
        keeper_of(load("t2v"), capture, limit, "20")


@pytest.mark.parametrize(("limit", "most"), [(0.5, 2**29), (1.0, 2**30), (2.5, 5 * 2**29)])
def test_a_limit_is_in_gib(load, workbench, limit, most):
    from wanattn.nodes.diagnostics import keeper_of

    keeper = keeper_of(load("t2v"), "0,1", limit, "20")
    assert (keeper.limit, len(keeper.spans), keeper.node) == (most, 2, "20")
    assert keeper_of(load("t2v"), "", limit, "20") is None
