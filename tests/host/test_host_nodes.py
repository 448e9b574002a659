"""The host's own nodes give no alarm: what they do to a run is told as calls, never as something wrong."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from wanattn.tests.host.account import assert_account, assert_told, conds_of, true_conds_of

NAMES = [
    "APG",
    "CFGNorm",
    "CFGZeroStar",
    "ContextWindowsManual",
    "EasyCache",
    "Epsilon Scaling",
    "FreSca",
    "LazyCache",
    "LoRA hook",
    "LoRA hook on a part",
    "Mahiro",
    "ModelSamplingSD3",
    "NAGuidance",
    "RescaleCFG",
    "ScaleROPE",
    "SkipLayerGuidanceDiT",
    "SkipLayerGuidanceDiTSimple",
    "TCFG",
    "WanContextWindowsManual",
    "area",
    "in time",
    "mask",
]
ORDERS = pytest.mark.parametrize("first", ["ours", "theirs"])


@pytest.fixture
def run(load, workbench):
    """Samples with one of the host's nodes: the report, the independent count and the latent."""
    from wanattn.tests.host import host_nodes, sampling
    from wanattn.tests.host.counting import Counting

    def run(name, first="ours", backend="math", plain=False):
        node, model = host_nodes.NODES[name], load("t2v")
        ours = (lambda m: workbench.diagnostics(workbench.backend(m, backend))) if backend else id_
        order = (ours, node.change) if first == "ours" else (node.change, ours)
        for change in (ours,) if plain else order:
            model = change(model)
        texts = {
            c: sampling.conditioning(model, s) for c, s in (("positive", 11), ("negative", 12))
        }
        known = {name: cond[0][0] for name, cond in texts.items()}
        texts = texts if plain else node.texts(texts)
        with Counting(model, known) as counting:
            latent = sampled(model, texts, node)
        return (workbench.report(model) if backend else None), counting, latent

    return run


def id_(model):
    return model


def sampled(model, texts, node) -> torch.Tensor:
    import comfy.samplers
    from wanattn.tests.host import sampling

    latent = torch.zeros(node.latent) if node.latent else sampling.empty_latent(model)
    schedule = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(schedule, "simple", node.steps)
    sampler = comfy.samplers.sampler_object("euler")
    given = (texts["positive"], texts["negative"], latent)
    return sampling.custom(model, sampler, sigmas, *given, cfg=node.cfg)


def conds_made(counting) -> Counter:
    """A batch tells a conditioning once, however many parts of it are in it."""
    batches = ((tuple(dict.fromkeys(c)), n) for c, n in true_conds_of(counting).items())
    return sum((Counter({conds: calls}) for conds, calls in batches), Counter())


@pytest.mark.parametrize("name", NAMES)
def test_the_node_does_what_it_is_here_for(run, name):
    from wanattn.tests.host import host_nodes

    node = host_nodes.NODES[name]
    _, with_it, changed = run(name, backend="")
    _, without, plain = run(name, backend="", plain=True)

    assert changed.isfinite().all()
    assert not torch.equal(changed, plain) or conds_made(with_it) != conds_made(without)
    assert (len(with_it.calls) > len(without.calls)) == node.more
    assert (len(with_it.calls) < len(without.calls)) == node.fewer


@pytest.mark.parametrize("name", NAMES)
@ORDERS
def test_calls_told_are_the_calls_made(run, name, first):
    report, counting, _ = run(name, first)

    assert set(counting.counts("kernel")) == {("math",)}
    assert_told(report, counting)
    assert_account(report, len(counting.calls), len(counting.calls))
    assert conds_of(report) == conds_made(counting)


@pytest.mark.parametrize("name", NAMES)
@ORDERS
@pytest.mark.parametrize("backend", ["math", "host"])
def test_no_alarm(run, name, first, backend):
    """Every sentence is one that the same model without the node has too."""
    report, _, _ = run(name, first, backend)
    plain, _, _ = run(name, backend=backend, plain=True)

    assert report.payload["notes"] == plain.payload["notes"]
    assert report.payload["coverage"] == plain.payload["coverage"]
    assert not report.payload["fallbacks"] and not report.payload["mismatches"]
    assert "!" not in report.text and "did not come through" not in report.text


@pytest.mark.parametrize("name", NAMES)
def test_watching_changes_no_bit(run, name):
    assert torch.equal(run(name, backend="host")[2], run(name, backend="")[2])
