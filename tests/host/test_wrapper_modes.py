"""WanVideoWrapper's modes beside sdpa and flash, its torch.compile settings and VACE: each told by name, or taken over."""

from __future__ import annotations

import functools
from collections import Counter

import pytest
import torch
import torch._inductor.config
from wanattn.tests.host import wrapper
from wanattn.tests.host.wrapper import BLOCKS, CALLS, WrapperCounting, sample

FACTS = ("step", "block", "role")
RADIAL = "radial_sage_attention"
SQUARE = {
    "num_frames": 5,
    "width": 128,
    "height": 128,
}  # radial attention takes whole blocks of 64 tokens


@pytest.fixture(scope="module")
def pack(comfy):
    return wrapper.loaded()


@pytest.fixture(scope="module")
def path(pack, tmp_path_factory):
    return wrapper.save_tiny(pack, tmp_path_factory.mktemp("wrapper"))


@pytest.fixture
def nodes(workbench):
    return wrapper.with_nodes(workbench)


@pytest.fixture
def watched(nodes):
    return functools.partial(wrapper.watched, nodes)


@pytest.fixture
def backed(nodes):
    return functools.partial(wrapper.backed, nodes)


def load(pack, path, mode="sdpa", **more):
    if mode not in wrapper.modes(pack):
        pytest.skip(f"this version of {wrapper.NAME} has no mode {mode}")
    return wrapper.load(pack, path, mode, **more)


def radial(pack, path):
    """Sparse from the second block on, in every step."""
    model = load(pack, path, RADIAL)
    settings = pack.NODE_CLASS_MAPPINGS["WanVideoSetRadialAttention"]()
    given = {"dense_attention_mode": "sageattn", "dense_blocks": 1, "dense_vace_blocks": 1}
    given |= {"dense_timesteps": 0, "decay_factor": 0.2, "block_size": 64}
    return settings.loadmodel(model, **given)[0]


def square(pack):
    return pack.NODE_CLASS_MAPPINGS["WanVideoEmptyEmbeds"]().process(**SQUARE)[0]


def facts(lines, *more):
    return Counter(tuple(line[name] for name in (*FACTS, *more)) for line in lines)


@pytest.mark.parametrize("mode", ["sageattn", "sageattn_compiled", "sageattn_3"])
def test_sage_is_told_by_name_and_taken_over(pack, path, nodes, watched, backed, mode):
    model = load(pack, path, mode)
    plain = sample(pack, model, steps=3, cfg=1.0)
    seen = watched(model)
    with WrapperCounting(model) as counting:
        assert torch.equal(sample(pack, seen, steps=3, cfg=1.0), plain)
    lines = nodes.report(seen).lines
    named = {"sageattn_compiled": "sageattn"}  # its package knows one function for both
    ran = Counter((*key, named.get(kernel, kernel)) for *key, kernel in told(lines))
    assert ran == counting.counts(*FACTS, "kernel")
    own = [line for line in lines if line["role"] == "self"]
    assert {line["requested"] for line in own} == {mode}
    between = {line["reason"] for line in own if line["step"] == "1"}
    remark = "sageattn_3 runs in the first and last step, sageattn in between"
    assert between == ({remark} if mode == "sageattn_3" else {""})
    with WrapperCounting(model) as taken:
        sample(pack, backed(model), steps=1, cfg=1.0)
    assert taken.counts("kernel") == {("math",): CALLS}


def test_a_mode_that_a_node_sets_for_some_blocks_is_told_as_asked(pack, path, nodes, watched):
    model = watched(load(pack, path, "sageattn_3"))
    node = pack.NODE_CLASS_MAPPINGS["WanVideoSetAttentionModeOverride"]()
    seen = node.getmodelpath(model, "sageattn", 1, 2, False, blocks=[0, 1])[0]
    sample(pack, seen, steps=3, cfg=1.0)
    lines = [line for line in nodes.report(seen).lines if line["role"] == "self"]
    assert {(line["requested"], line["reason"]) for line in lines if line["step"] != "1"} == {
        ("sageattn_3", "")
    }
    between = [line for line in lines if line["step"] == "1"]
    assert {line["active"] for line in between} == {"sageattn"}
    asked = {line["block"] for line in between if line["requested"] == "sageattn"}
    assert asked == {line["block"] for line in between if not line["reason"]} == {"0", "1"}


def told(lines):
    return facts(lines, "active").elements()


def test_radial_attention_keeps_its_sparse_part_and_its_dense_part_is_plain(
    pack, path, nodes, watched, backed
):
    model = radial(pack, path)
    seen = watched(model)
    with WrapperCounting(model) as counting:
        sample(pack, seen, steps=1, cfg=1.0, image_embeds=square(pack))
    lines = nodes.report(seen).lines
    assert facts(lines, "active") == counting.counts(*FACTS, "kernel")
    assert counting.counts("role", "kernel")["self", RADIAL] == BLOCKS - 1
    (dense,) = [line for line in lines if line["role"] == "self" and line["block"] == "0"]
    assert (dense["active"], dense["requested"]) == ("flash", "sdpa")
    assert dense["reason"] == "radial_sage_attention runs sdpa in its dense blocks and steps"
    kept = backed(model)
    with WrapperCounting(model) as taken:
        sample(pack, kept, steps=1, cfg=1.0, image_embeds=square(pack))
    ran = taken.counts("role", "kernel")
    assert ran == {("self", RADIAL): BLOCKS - 1, ("self", "math"): 1, ("text", "math"): BLOCKS}
    reasons = {line["reason"] for line in nodes.report(kept).lines if line["active"] == RADIAL}
    assert reasons == {f"{RADIAL} is no plain attention and keeps its own kernel"}
    over = backed(model, other_packs="take over")
    with WrapperCounting(model) as everything:
        sample(pack, over, steps=1, cfg=1.0, image_embeds=square(pack))
    assert everything.counts("kernel") == {("math",): CALLS}


@pytest.mark.parametrize("whole", [False, True], ids=["blocks", "whole"])
def test_its_own_compile_settings_keep_the_choice(pack, path, nodes, watched, backed, whole):
    model = wrapper.load(pack, path, compile_args=settings("eager", not whole))
    plain = sample(pack, model, steps=1, cfg=1.0)
    assert torch.equal(sample(pack, watched(model), steps=1, cfg=1.0), plain)
    taken = backed(model)
    sample(pack, taken, steps=1, cfg=1.0)
    report = nodes.report(taken)
    assert Counter((line["active"], line["role"]) for line in report.lines) == {
        ("math", "self"): BLOCKS,
        ("math", "text"): BLOCKS,
    }
    assert {line["block"] for line in report.lines} == {str(block) for block in range(BLOCKS)}
    assert torch.equal(sample(pack, model, steps=1, cfg=1.0), plain)


def test_inductor_traces_a_block_unwatched_and_the_others_are_told(
    pack, path, nodes, watched, monkeypatch
):
    """It calls torch's attention with tensors that hold no numbers, in the midst of a watched forward."""
    compiled, compile_one = [], torch.compile

    def first(module, **options):
        compiled.append(module)
        return compile_one(module, **options) if len(compiled) == 1 else module

    monkeypatch.setattr(torch, "compile", first)
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    model = wrapper.load(pack, path, compile_args=settings("inductor", True))
    seen = watched(model)
    sample(pack, seen, steps=1, cfg=1.0)
    report = nodes.report(seen)

    assert len(compiled) == BLOCKS
    assert {line["block"] for line in report.lines} == {str(block) for block in range(1, BLOCKS)}
    assert len(report.lines) == CALLS - 2
    assert "per-call records end where the compiled graph begins" in report.text


def settings(backend: str, blocks: bool) -> dict:
    """As the wrapper's node for torch.compile gives them."""
    only = {"compile_transformer_blocks": blocks, "compile_transformer_blocks_only": blocks}
    made = {"backend": backend, "fullgraph": False, "mode": "default", "dynamic": False, **only}
    made |= {"dynamo_cache_size_limit": 64, "dynamo_recompile_limit": 128}
    return made | {"force_parameter_static_shapes": True}


def test_the_blocks_of_vace_have_roles_of_their_own(pack, nodes, watched, tmp_path):
    if not wrapper.modern(pack):
        pytest.skip(f"this version of {wrapper.NAME} has no VACE")
    layers = list(range(0, BLOCKS, 2))
    path = wrapper.save_tiny(pack, tmp_path, {"vace_layers": layers, "vace_in_dim": 96})
    model = wrapper.load(pack, path)
    embeds = pack.NODE_CLASS_MAPPINGS["WanVideoEmptyEmbeds"]()
    embeds = embeds.process(num_frames=5, width=64, height=64)[0]
    embeds |= {"vace_context": [torch.randn(96, 2, 8, 8)], "vace_scale": 1.0, "vace_seq_len": 32}
    seen = watched(model)
    with WrapperCounting(model) as counting:
        sample(pack, seen, steps=1, cfg=1.0, image_embeds=embeds)
    assert counting.counts("role")["vace self",] == len(layers)
    assert len(counting.calls) == CALLS + 2 * len(layers)
    assert facts(nodes.report(seen).lines, "active") == counting.counts(*FACTS, "kernel")


@pytest.mark.parametrize("packed", [False, True])
def test_an_adapter_that_masks_or_packs_its_calls_is_told_and_taken(
    pack, path, nodes, watched, backed, packed
):
    model = load(pack, path)
    add_lynx(pack, model.model, packed)
    plain = sample(pack, model, steps=1, cfg=1.0)
    for seen in (watched(model), backed(model)):
        with WrapperCounting(model) as counting:
            latent = sample(pack, seen, steps=1, cfg=1.0)
        assert len(counting.calls) == CALLS + 1
        assert facts(nodes.report(seen).lines, "active") == counting.counts(*FACTS, "kernel")
        assert torch.allclose(latent, plain, rtol=0.05, atol=0.05)
    (line,) = [line for line in nodes.report(seen).lines if line["role"] == "other"]
    assert (line["block"], "packed" in line["reason"]) == ("3", packed)


def add_lynx(pack, model, packed: bool) -> None:
    """The wrapper's own adapter for the faces of Lynx, in one layer: a mask over keys, or packed samples with lengths."""
    module = pytest.importorskip(f"{pack.__name__}.lynx.modules", reason="needs Lynx, newer")
    place, width = "blocks.3.self_attn", wrapper.TINY["dim"]
    layer = model.get_submodule(f"diffusion_model.{place}")
    layer.ref_adapter = module.WanLynxRefAttention(width).to(torch.bfloat16)
    layer.ref_adapter.use_sageattn = packed
    weights = layer.ref_adapter.state_dict()
    model["sd"].update({f"{place}.ref_adapter.{n}": w.clone() for n, w in weights.items()})
    faces, forward = torch.randn(1, 24, width, dtype=torch.bfloat16), layer.forward
    layer.forward = lambda *args, **named: forward(*args, **{**named, "lynx_ref_feature": faces})
