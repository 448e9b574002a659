"""What a run leaves in the host, however it ends: nothing, and the next one is told as ever."""

from __future__ import annotations

import sys
import threading

import pytest
import torch
from wanattn.tests.host.sampling import CALLS, sample


def traces(*models) -> list[str]:
    """Names of modules that lead elsewhere, and modules of these models with hooks of ours."""
    from wanattn.attention.run.names import StandIn

    led = [
        f"{name}.{key}"
        for name, module in list(sys.modules.items())
        for key, value in list(getattr(module, "__dict__", {}).items())
        if type(value) is StandIn
    ]
    modules = [module for model in models for module in model.model.diffusion_model.modules()]
    hooks = [module for module in modules if module._forward_hooks or module._forward_pre_hooks]
    return led + [type(module).__name__ for module in hooks]


def ending(error, step):
    """A callback of the sampler, between two forwards."""

    def callback(at, *rest):
        assert traces() != []
        if at == step:
            raise error

    return callback


@pytest.mark.parametrize("node", ["backend", "diagnostics"])
@pytest.mark.parametrize("kind", ["interrupt", KeyboardInterrupt, SystemExit, MemoryError])
def test_a_run_that_is_broken_off_leaves_nothing_and_the_next_is_told(load, workbench, node, kind):
    from comfy.model_management import InterruptProcessingException

    error = InterruptProcessingException() if kind == "interrupt" else kind()
    model = getattr(workbench, node)(load("t2v"))
    with pytest.raises(type(error)):
        sample(model, callback=ending(error, 0))
    assert traces(model) == []

    sample(model, prompt="next")
    assert traces(model) == []
    assert workbench.report(model).payload["calls"] == CALLS


def test_an_error_within_a_block_leaves_nothing_and_the_next_run_is_told(
    load, workbench, monkeypatch
):
    model = workbench.diagnostics(load("t2v"))
    block = model.model.diffusion_model.blocks[1]
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(block.cross_attn.o, "forward", lambda x: 1 / 0)
        sample(model)
    assert traces(model) == []

    sample(model, prompt="next")
    assert workbench.report(model).payload["calls"] == CALLS


def test_runs_in_two_threads_are_told_apart_and_leave_nothing(load, workbench):
    models = [workbench.diagnostics(load("t2v", seed=seed), at=str(seed)) for seed in (1, 2)]
    both, errors = threading.Barrier(2, timeout=60), []

    def meet(step, *rest):
        if step == 0:
            both.wait()

    def run(model, prompt):
        try:
            sample(model, prompt=prompt, steps=4, callback=meet)
        except BaseException as error:  # told by the test, not lost in the thread
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(model, f"of {number}"))
        for number, model in enumerate(models)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == [] and traces(*models) == []

    for number, model in enumerate(models):
        report = workbench.report(model, prefix=f"two/{number}")
        assert report.payload["calls"] == 2 * CALLS
        assert report.counts("step") == dict.fromkeys([(str(step),) for step in range(4)], 4)


def test_a_pack_that_changes_the_function_between_two_forwards_is_told_by_step(load, workbench):
    import comfy.ldm.wan.model as wan

    before, found = wan.optimized_attention, []

    def sparse(q, k, v, heads, **kwargs):
        return torch.zeros_like(q)

    sparse.__module__ = "sparse_pack"

    def callback(step, *rest):
        if step == 0:
            found.append(wan.optimized_attention)
            wan.optimized_attention = sparse
        elif step == 1:
            wan.optimized_attention = found[0]

    model = workbench.diagnostics(load("t2v"))
    sample(model, steps=3, callback=callback)

    assert wan.optimized_attention is before and traces(model) == []
    report = workbench.report(model)
    assert report.counts("step", "via") == {("0", "hook"): 4, ("1", "past"): 4, ("2", "hook"): 4}
    ((how, ran),) = {(each["how"], each["ran"]) for each in report.payload["account"]["past"]}
    assert how == "attention function replaced by sparse_pack" and ran.endswith("sparse")


def test_what_a_pack_kept_of_a_run_and_puts_back_after_it_is_taken_back_by_the_next(
    load, workbench
):
    import comfy.ldm.wan.model as wan

    before, kept = wan.optimized_attention, []
    model = workbench.diagnostics(load("t2v"))
    sample(model, callback=lambda *_: kept.append(wan.optimized_attention))
    wan.optimized_attention = kept[0]
    bare = sample(load("t2v"))  # nobody watches
    latent = sample(model, prompt="next")

    assert wan.optimized_attention is before and traces(model) == []
    assert (latent == bare).all()
    assert workbench.report(model).payload["calls"] == CALLS


def test_a_run_within_a_run_is_told_by_its_own_node_and_ends_nothing_of_the_outer_one(
    load, workbench
):
    outer = workbench.diagnostics(load("t2v"), at="1")
    inner = workbench.diagnostics(load("t2v", seed=2), at="2")

    def callback(step, *rest):
        if step == 0:
            sample(inner, prompt="inner")
            assert traces() != []

    sample(outer, steps=3, callback=callback)

    assert traces(outer, inner) == []
    for model, calls, prefix in ((outer, 3 * CALLS // 2, "outer"), (inner, CALLS, "inner")):
        assert workbench.report(model, prefix=f"nested/{prefix}").payload["calls"] == calls
