"""WanVideoWrapper's own loader and sampler with our nodes: every call told, taken over where asked, and nothing left behind."""

from __future__ import annotations

import functools
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
    return wrapper.with_nodes(workbench)


@pytest.fixture
def watched(nodes):
    return functools.partial(wrapper.watched, nodes)


@pytest.fixture
def backed(nodes):
    return functools.partial(wrapper.backed, nodes)


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


def test_a_backend_takes_every_call_and_only_its_own_clone(pack, load, nodes, backed):
    model = load("flash_attn_2")
    taken = backed(model, "math")
    with WrapperCounting(model) as counting:
        sample(pack, taken)
    assert counting.counts("kernel") == {("math",): FORWARDS * CALLS}
    report = nodes.report(taken)
    assert facts(report.lines, "active") == counting.counts(*FACTS, "kernel")
    assert {(line["requested"], line["reason"]) for line in report.lines} == {("math", "")}
    with WrapperCounting(model) as bypassed:
        sample(pack, model, steps=1, cfg=1.0)
    told = bypassed.counts("role", "kernel")
    assert told.pop(("self", "flash_attn_2")) == BLOCKS
    assert set(told) <= {
        ("text", "flash"),
        ("text", "flash_attn_2"),
    }  # newer versions keep sdpa there


def test_rules_go_by_role_block_and_step(pack, load, nodes, backed):
    from wanattn.tests.host.conftest import chained

    rules = chained(nodes, ("self", "0-3", "0", "host"), ("text", "", "", "flash"))
    model = load("sdpa")
    taken = backed(model, "math", rules=rules)
    with WrapperCounting(model) as counting:
        sample(pack, taken, cfg=1.0)

    def ruled(call):
        if call.role == "text" or (call.block < 4 and call.step == 0):
            return "flash"
        return "math"

    assert [call.kernel for call in counting.calls] == [ruled(call) for call in counting.calls]
    report = nodes.report(taken)
    assert facts(report.lines, "active") == counting.counts(*FACTS, "kernel")
    left = [line for line in report.lines if line["requested"] == "sdpa"]
    assert len(left) == 4 and {line["step"] for line in left} == {"0"}


@pytest.mark.parametrize("last", ["backend", "diagnostics"])
def test_both_orders_of_the_nodes_tell_the_same(pack, load, nodes, watched, backed, last):
    model = load("sdpa")
    both = backed(watched(model)) if last == "backend" else watched(backed(model))
    with WrapperCounting(model) as counting:
        sample(pack, both, steps=1, cfg=1.0)
    assert counting.counts("kernel") == {("math",): CALLS}
    for tap in both.get_attachment("wanattn"):
        lines = [record for _, record in tap.recorder.snapshot().calls]
        assert Counter(line.active for line in lines) == {"math": CALLS}
        assert {(line.requested, line.step) for line in lines} == {("math", 0)}


def test_nothing_is_left_in_the_wrapper_and_the_model(pack, load, watched, backed):
    model = load("sdpa")
    sample(pack, model, steps=1, cfg=1.0)
    before, inside = state(pack), kept(model)
    sample(pack, watched(backed(model)), steps=1, cfg=1.0)
    assert state(pack) == before
    assert kept(model) == inside


@pytest.mark.parametrize("ending", ["failed", "interrupted"])
def test_an_error_and_an_interrupt_leave_nothing_and_are_told(pack, load, nodes, watched, ending):
    import comfy.model_management as mm

    model = load("sdpa")
    before, inside = state(pack), kept(model)
    error = RuntimeError("broken") if ending == "failed" else mm.InterruptProcessingException()
    seen = watched(model)
    block = model.model.get_submodule("diffusion_model.blocks.3")
    hook = block.register_forward_pre_hook(_raising(error))
    try:
        with pytest.raises(type(error)):
            sample(pack, seen, steps=1, cfg=1.0)
    finally:
        hook.remove()
    assert state(pack) == before
    assert kept(model) == inside
    tap = seen.get_attachment("wanattn")[-1]
    assert tap.recorder.run.state == ending
    assert tap.recorder.run.calls == 6
    sample(pack, seen, steps=1, cfg=1.0, prompt="next")
    assert (tap.recorder.run.state, tap.recorder.run.calls) == ("finished", CALLS)


def _raising(error):
    def hook(module, inputs):
        raise error

    return hook


def test_stop_ends_the_run_with_the_reason(pack, load, nodes, backed):
    taken = backed(load("sdpa"), "cudnn", on_refusal="stop")
    with pytest.raises(Exception, match="cudnn"):
        sample(pack, taken, steps=1, cfg=1.0)
    assert taken.get_attachment("wanattn")[-1].recorder.run.state == "failed"
    assert "cudnn" in str(nodes.report(taken).payload["failure"])


def test_context_windows_are_all_counted(pack, load, nodes, watched):
    model = load("sdpa")
    embeds = pack.NODE_CLASS_MAPPINGS["WanVideoEmptyEmbeds"]()
    embeds = embeds.process(num_frames=25, width=64, height=64)[0]
    given = {"context_schedule": "static_standard", "context_frames": 9, "context_stride": 4}
    given |= {"context_overlap": 4, "freenoise": False, "verbose": False}
    options = pack.NODE_CLASS_MAPPINGS["WanVideoContextOptions"]()
    made = options.process(**{n: v for n, v in given.items() if n in _inputs(options)})[0]
    seen = watched(model)
    with WrapperCounting(model) as counting:
        sample(pack, seen, steps=1, cfg=1.0, image_embeds=embeds, context_options=made)
    assert len(counting.calls) > CALLS
    lines = nodes.report(seen).lines
    assert facts(lines, "active", "q_len") == counting.counts(*FACTS, "kernel", "q_len")


def test_block_swap_goes_on(pack, path, nodes, watched, backed):
    swapped = pack.NODE_CLASS_MAPPINGS["WanVideoBlockSwap"]()
    given = {
        "blocks_to_swap": 5,
        "offload_img_emb": False,
        "offload_txt_emb": False,
        "vace_blocks_to_swap": 0,
    }
    given = {name: given[name] for name in given if name in _inputs(swapped)}
    made = getattr(swapped, swapped.FUNCTION)(**given)[0]
    model = wrapper.load(pack, path, block_swap_args=made)
    taken = watched(backed(model))
    with WrapperCounting(model) as counting:
        sample(pack, taken, steps=1, cfg=1.0)
    assert counting.counts("kernel") == {("math",): CALLS}
    assert facts(nodes.report(taken).lines, "active") == counting.counts(*FACTS, "kernel")


def _inputs(node):
    return {name for kind in node.INPUT_TYPES().values() for name in kind}
