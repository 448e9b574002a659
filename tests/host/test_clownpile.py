"""RES4LYF's Clownpile: the blocks compiled one by one, each an object patch of the model."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters
from wanattn.tests.host import packs
from wanattn.tests.host.account import assert_account, assert_told
from wanattn.tests.host.sampling import CALLS, sample


@pytest.fixture(autouse=True)
def limit(comfy):
    """The pack raises torch's limit of graphs for the process."""
    before = torch._dynamo.config.cache_size_limit
    yield
    torch._dynamo.config.cache_size_limit = before
    torch.compiler.reset()


@pytest.fixture
def fresh(comfy, tmp_path_factory):
    """A new model each: the pack compiles what it finds, also what it compiled before."""
    from wanattn.tests.host import tiny

    path = tiny.save_wan(tmp_path_factory.mktemp("clownpile"), "t2v")
    return lambda: comfy.sd.load_diffusion_model(str(path))


@pytest.fixture
def clownpile():
    def clownpile(model):
        given = {"backend": "eager", "mode": "default", "fullgraph": False, "dynamic": False}
        given |= {"dynamo_cache_size_limit": 64, "skip_self_attn_blocks": ""}
        given |= {"compile_transformer_blocks": True, "force_recompile": False}
        torch.compiler.reset()
        counters.clear()
        made = packs.node(packs.load("RES4LYF"), "ClownpileModelWanVideo")(model=model, **given)[0]
        assert set(made.object_patches) == {f"diffusion_model.blocks.{n}" for n in (0, 1)}
        return made

    return clownpile


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_calls_of_its_blocks_are_counted_told_and_chosen(fresh, workbench, clownpile, first):
    from wanattn.tests.host.counting import Counting

    expected = sample(clownpile(fresh()))
    without = graphs()
    if first == "ours":
        patched = clownpile(workbench.backend(fresh(), "math"))
    else:
        patched = workbench.backend(clownpile(fresh()), "math")

    with Counting(plain := workbench.backend(fresh(), "math", at="11")) as counting:
        sample(plain)  # torch compiles nothing while a dispatch mode counts

    latent = sample(patched)

    report = workbench.report(patched)
    assert_told(report, counting)
    assert_account(report, CALLS, CALLS)
    assert graphs() == without
    assert any("attention stays one operator" in note for note in report.payload["notes"])
    torch.testing.assert_close(latent, expected, rtol=1e-4, atol=1e-4)


def test_a_node_that_only_watches_says_where_its_sight_ends(fresh, workbench, clownpile):
    expected = sample(clownpile(fresh()))
    watched = workbench.diagnostics(clownpile(fresh()))

    assert torch.equal(sample(watched), expected)
    note = "compiled: per-call records end where the compiled graph begins"
    assert note in workbench.report(watched).payload["notes"]
