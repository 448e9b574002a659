"""WanVideoWrapper's own loader and sampler with our nodes: every call told, taken over where asked, and nothing left behind."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from wanattn.tests.host import wrapper
from wanattn.tests.host.wrapper import BLOCKS, CALLS, STEPS, WrapperCounting, sample

FORWARDS = 2 * STEPS
FACTS = ("step", "block", "role")


@pytest.fixture(scope="module")
def pack(comfy):
    return wrapper.loaded()


@pytest.fixture(scope="module")
def path(pack, tmp_path_factory):
    return wrapper.save_tiny(pack, tmp_path_factory.mktemp("wrapper"))


@pytest.fixture(scope="module")
def load(pack, path):
    known = {}

    def load(mode="sdpa"):
        if mode not in wrapper.modes(pack):
            pytest.skip(f"this version of {wrapper.NAME} has no mode {mode}")
        known[mode] = known.get(mode) or wrapper.load(pack, path, mode)
        return known[mode]

    return load


@pytest.fixture
def nodes(workbench):
    from wanattn.nodes.extension import WRAPPER

    workbench.nodes |= {node.GET_SCHEMA().node_id: node for node in WRAPPER}
    return workbench


@pytest.fixture
def watched(nodes):
    return lambda model, at="20": nodes.run("WanAttnWrapperDiagnostics", at, model=model)[0]


@pytest.fixture
def backed(nodes):
    def backed(model, backend="math", at="10", **more):
        given = {"model": model, "backend": backend, "on_refusal": "next best", **more}
        return nodes.run("WanAttnWrapperBackend", at, **given)[0]

    return backed


def state(pack):
    """Every name of the wrapper's modules and of torch's functions."""
    import sys

    names = [name for name in sys.modules if name.startswith(pack.__name__)]
    modules = [*(sys.modules[name] for name in names), torch.nn.functional]
    return {(m.__name__, name): id(value) for m in modules for name, value in vars(m).items()}


def kept(model):
    """What a node could leave in the shared model."""
    transformer = model.model.get_submodule("diffusion_model")
    return {
        name: (
            type(module),
            set(vars(module)),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
        )
        for name, module in transformer.named_modules()
    }


def facts(lines, *more):
    return Counter(tuple(line[name] for name in (*FACTS, *more)) for line in lines)


@pytest.mark.parametrize(
    ("mode", "ran"),
    [("sdpa", ("flash",)), ("flash_attn_2", ("flash_attn_2",)), ("comfy", ("flash",))],
)
def test_every_call_of_a_mode_is_told_as_it_was_and_the_numbers_stay(
    pack, load, nodes, watched, mode, ran
):
    model = load(mode)
    plain = sample(pack, model)
    seen = watched(model)
    with WrapperCounting(model) as counting:
        assert torch.equal(sample(pack, seen), plain)
    assert len(counting.calls) == FORWARDS * CALLS
    report = nodes.report(seen)
    assert report.payload["state"] == "finished"
    assert report.payload["account"] == {
        "calls": FORWARDS * CALLS,
        "hooked": FORWARDS * CALLS,
        "past": [],
    }
    assert facts(report.lines, "active") == counting.counts(*FACTS, "kernel")
    told = Counter((line["step"], line["cond"]) for line in report.lines)
    assert told == Counter(
        (str(call.step), counting.forwards[call.forward][0]) for call in counting.calls
    )
    assert {kernel for *_, kernel in counting.counts("kernel")} <= {*ran, "math", "flash"}
    assert report.payload["model"] == {"class": "WanVideoModel", "wan": True}
