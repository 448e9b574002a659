"""Other packs in the way of Wan's attention: what they take past the hook is counted, named and, where safe, reached."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import torch
from wanattn.tests.host import imitations, packs, sampling
from wanattn.tests.host.account import assert_account, assert_told
from wanattn.tests.host.sampling import CALLS, conditioning, sample


def kj_guidance(pack, model):
    negative = sampling.conditioning(model, 13)
    given = {"nag_scale": 11.0, "nag_alpha": 0.25, "nag_tau": 2.5}
    return packs.node(pack, "WanVideoNAG")(model=model, conditioning=negative, **given)[0]


def tea_cache(pack, model):
    given = {"model_type": "wan2.1_t2v_1.3B", "rel_l1_thresh": 1e-9, "cache_device": "cpu"}
    given |= {"start_percent": 0.0, "end_percent": 1.0}
    return packs.node(pack, "TeaCache")(model=model, **given)[0]


def mag_cache(pack, model):
    given = {"model_type": "wan2.1_t2v_1.3B", "magcache_thresh": 1e-9, "retention_ratio": 0.2}
    given |= {"magcache_K": 2, "start_step": 1, "end_step": -1}
    return packs.node(pack, "MagCache")(model=model, **given)[0]


def rewan(pack, model):
    return packs.node(pack, "ReWanPatcher")(model=model, enable=True, force=True)[0]


EVERY = -1
# What each does, how many of the calls of a run pass the hook by, and whom the account must name.
IMITATED = {
    "blocks without options": (imitations.blocks_without_options, EVERY, "bare"),
    "forward swapped": (imitations.forward_swapped, EVERY, "without_options"),
    "classes swapped": (imitations.classes_swapped, EVERY, "class replaced by"),
    "cross-attention patched": (imitations.cross_attention_patched, 4, "own_cross_attention"),
}
REAL = {
    "ComfyUI-KJNodes": (kj_guidance, 0, ""),
    "ComfyUI-TeaCache": (tea_cache, EVERY, "TeaCache"),
    "ComfyUI-MagCache": (mag_cache, EVERY, "MagCache"),
    "RES4LYF": (rewan, EVERY, "ReWan"),
}
ALL = {**IMITATED, **REAL}
PASSING = [name for name, (_, past, _) in ALL.items() if past]


def past_of(name, counting):
    past = ALL[name][1]
    return len(counting.calls) if past == EVERY else past


@pytest.fixture
def fresh(comfy, tmp_path_factory):
    """A model of its own for the test: undoing an object patch leaves `forward` on the module that had none."""
    from wanattn.tests.host import tiny

    path = tiny.save_wan(tmp_path_factory.mktemp("fresh"), "t2v")
    return comfy.sd.load_diffusion_model(str(path))


@pytest.fixture
def change(comfy):
    """Applies a pack or its imitation to a model."""

    def change(name, model):
        patched, _, _ = ALL[name]
        return patched(packs.load(name), model) if name in REAL else patched(model)

    return change


@pytest.fixture
def ordered(workbench, change):
    """Our nodes before or after the other pack's."""

    def ordered(name, model, first, backend=None, on_refusal="next best"):
        def ours(model):
            model = workbench.backend(model, backend, on_refusal) if backend else model
            return workbench.diagnostics(model)

        return change(name, ours(model)) if first == "ours" else ours(change(name, model))

    return ordered


@pytest.fixture
def run(workbench):
    from wanattn.tests.host.counting import Counting

    def run(patched, **chosen):
        known = {
            "positive": conditioning(patched, 11)[0][0],
            "negative": conditioning(patched, 12)[0][0],
        }
        with Counting(patched, known) as counting:
            latent = sample(patched, **chosen)
        return workbench.report(patched), counting, latent

    return run


ORDERS = pytest.mark.parametrize("first", ["ours", "theirs"])
UNSEEN = dict.fromkeys(PASSING, "calls past the hook are not recorded")


@pytest.mark.parametrize("name", ALL)
def test_the_pack_does_what_it_is_here_for(fresh, change, run, name):
    """Without any of our nodes: the hook of another is asked for exactly the calls that do not pass it by."""
    asked = []

    def hook(func, *args, **named):
        asked.append(func)
        return func(*args, **named)

    model = fresh.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = hook
    model = change(name, model)
    from wanattn.tests.host.counting import Counting

    with Counting(model) as counting:
        sample(model)

    assert len(counting.calls) - len(asked) == past_of(name, counting)
    assert len(counting.calls) >= CALLS


@pytest.mark.parametrize("name", ALL)
@ORDERS
def test_calls_told_are_the_calls_made(fresh, ordered, run, name, first):
    report, counting, _ = run(ordered(name, fresh, first))

    assert_told(report, counting)


@pytest.mark.parametrize("name", ALL)
@ORDERS
def test_watching_changes_no_bit(fresh, change, ordered, run, name, first):
    alone = sample(change(name, fresh))

    assert torch.equal(run(ordered(name, fresh, first))[2], alone)
    assert torch.equal(run(ordered(name, fresh, first, "host"))[2], alone)


@pytest.mark.parametrize("name", ALL)
@ORDERS
def test_account_names_who_took_the_calls(fresh, ordered, run, name, first):
    report, counting, _ = run(ordered(name, fresh, first))

    calls, past, culprit = len(counting.calls), past_of(name, counting), ALL[name][2]
    assert_account(report, calls, calls - past)
    assert all(culprit in taken["how"] for taken in report.payload["account"]["past"])
    if past:
        words = f"{past} of {calls} calls did not come through the hook"
        assert words in report.text
    assert not any(mark in report.text for mark in ("/packs/", "\\packs\\"))


@pytest.mark.parametrize("name", PASSING)
@ORDERS
def test_backend_takes_the_calls_that_pass_the_hook_by(fresh, ordered, run, name, first):
    report, counting, _ = run(ordered(name, fresh, first, "math"))

    assert set(counting.counts("kernel")) == {("math",)}
    assert_told(report, counting)


@pytest.mark.parametrize("name", [name for name in PASSING if ALL[name][1] == EVERY])
def test_forwards_without_a_call_of_ours_are_not_taken_for_a_node_not_wired(
    fresh, ordered, run, name
):
    report, _, _ = run(ordered(name, fresh, "ours"))

    assert "Is this node's output what the sampler gets?" not in report.text
    assert report.payload["calls"]


def test_a_node_that_is_not_wired_is_still_asked_about(fresh, workbench):
    unused = workbench.diagnostics(fresh)
    sample(fresh)

    assert "Is this node's output what the sampler gets?" in workbench.report(unused).text


@pytest.mark.parametrize("name", ALL)
def test_nobody_is_accused_of_what_is_undone(fresh, change, workbench, run, name):
    """The host undoes an object patch by setting what was there before: `forward` stays on the instance."""
    from wanattn.tests.host.counting import Counting

    sample(change(name, fresh))
    model = workbench.diagnostics(fresh)
    with Counting(model) as counting:
        sample(model)

    report = workbench.report(model)
    assert_told(report, counting)
    assert not report.payload.get("account", {}).get("past")


@pytest.fixture
def foreign(fresh, workbench):
    """A run with a kernel that is no operator of torch, counted: in the process or in Wan's module."""
    from wanattn.tests.host.counting import Counting

    def foreign(patch, where, **chosen):
        plain = fresh
        counting = Counting(plain)
        kernel = counting.foreign("foreign", imitations.plain_attention)
        scope = nullcontext()
        if where == "process":
            scope = imitations.replaced_for_the_process(kernel)
            patched = patch(plain)
        else:
            patched = patch(imitations.attention_function_swapped(plain, kernel))
        with scope, counting:
            sample(patched, **chosen)
        return workbench.report(patched), counting

    return foreign


@pytest.mark.parametrize("on_refusal", ["next best", "host"])
def test_function_of_torch_that_another_replaced_is_never_told_as_ours(
    foreign, workbench, on_refusal
):
    report, counting = foreign(lambda m: workbench.backend(m, "host"), "process")

    assert set(counting.counts("kernel")) == {("foreign",)}
    assert not set(report.payload["totals"]) & {"flash", "math", "efficient", "cudnn"}
    assert {row["evidence"] for row in report.payload["rows"]} == {"host"}
    assert "plug_and_play" in report.text


def test_forced_kernel_runs_whatever_stands_in_torchs_place(foreign, workbench):
    report, counting = foreign(lambda m: workbench.backend(m, "flash", "stop"), "process")

    assert set(counting.counts("kernel")) == {("flash",)}
    assert report.payload["totals"] == {"flash": len(counting.calls)}


def test_sparse_kernel_keeps_its_turn_and_is_named(foreign, workbench):
    report, counting = foreign(lambda m: workbench.backend(m, "math"), "module")

    assert counting.counts("block", "role", "kernel")["1", "self", "foreign"] == 2
    assert counting.counts("kernel")["math",] == CALLS - 2
    assert_told(report, counting, "role", "block", "step")
    assert "sparse 25 %" in report.text and "keeps its own attention there" in report.text


def test_sparse_kernel_alone_is_told_beside_the_dense_calls(foreign, workbench):
    report, counting = foreign(workbench.diagnostics, "module")

    assert counting.counts("kernel") == {("foreign",): 2, ("flash",): CALLS - 2}
    assert report.payload["totals"]["flash"] == CALLS - 2
    assert_account(report, CALLS, CALLS)  # its function asks the hook, as the host's own do


def test_real_radial_attention_does_what_its_imitation_does(fresh, monkeypatch):
    from wanattn.tests.host.counting import Counting

    model = fresh
    counting = Counting(model)

    def dense(q, k, v, mask_id=None, tensor_layout="HND"):
        return imitations.plain_attention(q, k, v)

    with packs.sparse_kernel(counting.foreign("foreign", dense)):
        pack = packs.load("ComfyUI-RadialAttn")
        kernels = sys.modules[f"{pack.__name__}.attn_mask"]
        monkeypatch.setattr(kernels, "_cuda_archs", {None: "sm80"})  # there is no such card here
        given = {"dense_block": 1, "dense_timestep": 0, "last_dense_timestep": 0, "block_size": 64}
        given |= {"decay_factor": 0.2, "allow_compile": False}
        (patched,) = packs.node(pack, "PatchRadialAttn")(model=model, **given)
        with counting:
            sample(
                patched, cfg=1.0, latent=torch.zeros(1, 16, 4, 16, 16)
            )  # an even count of blocks

    assert counting.counts("block", "role", "kernel")["1", "self", "foreign"] == 2
    assert counting.counts("kernel") == {("foreign",): 2, ("flash",): CALLS - 2}


def test_a_kernel_that_nobody_can_see_is_told_by_the_module_that_ran(fresh, workbench):
    changed = imitations.kernel_called_directly(fresh, imitations.plain_attention)
    patched = workbench.backend(changed, "math")
    sample(patched)

    report = workbench.report(patched)
    account = report.payload["account"]
    assert (account["calls"], account["hooked"]) == (CALLS, CALLS // 2)
    (past,) = account["past"]
    assert (past["role"], past["calls"], past["ran"]) == ("self", CALLS // 2, "")
    assert "forward of WanSelfAttention replaced by" in past["how"]
    assert report.payload["totals"] == {"math": CALLS // 2}


def test_a_call_that_nobody_can_reach_ends_a_run_that_must_stop(fresh, workbench):
    changed = imitations.kernel_called_directly(fresh, imitations.plain_attention)
    patched = workbench.backend(changed, "math", "stop")

    with pytest.raises(RuntimeError, match=r"cannot reach blocks\.0\.self_attn"):
        sample(patched)
    text = workbench.report(patched).text
    assert text.startswith("stopped at block 0: forward of WanSelfAttention replaced by")


def test_a_kernel_of_another_pack_can_be_taken_over(foreign, workbench):
    report, counting = foreign(
        lambda m: workbench.run(
            "WanAttnBackend",
            "10",
            model=m,
            backend="math",
            on_refusal="next best",
            other_packs="take over",
        )[0],
        "module",
    )

    assert set(counting.counts("kernel")) == {("math",)}
    assert_told(report, counting)


@pytest.mark.parametrize("node", ["backend", "diagnostics"])
def test_options_may_be_copied_deeply(fresh, workbench, run, node):
    patched = imitations.options_copied(getattr(workbench, node)(fresh))

    report, counting, _ = run(patched)

    assert_told(report, counting)


def test_sampling_in_a_thread_is_told_as_any_other(fresh, workbench):
    from wanattn.tests.host.counting import Counting

    patched = workbench.backend(fresh, "math")
    with Counting(patched) as counting:
        imitations.in_a_thread(lambda: sample(patched))

    report = workbench.report(patched)
    assert_told(report, counting)
    assert "came from ComfyUI's cache" not in report.text


def test_sampling_in_a_thread_without_a_prompt_is_not_taken_for_a_cached_run(fresh, workbench):
    import comfy.sample

    patched = workbench.backend(fresh, "math")
    latent = sampling.empty_latent(patched)
    texts = (conditioning(patched, 11), conditioning(patched, 12))

    def work():
        with torch.inference_mode():
            noise = comfy.sample.prepare_noise(latent, 3)
            given = (noise, 2, 1.0, "euler", "simple", *texts, latent)
            return comfy.sample.sample(patched, *given, seed=3, disable_pbar=True)

    after = imitations.in_a_thread(work)
    text = workbench.run(
        "WanAttnReport", "30", "prompt", model=patched, after=after, filename_prefix="thread"
    )[1]
    assert "came from ComfyUI's cache" not in text


@pytest.mark.parametrize("node", ["none", "diagnostics", "host"])
def test_wish_of_a_file_stays_in_force_where_nothing_is_chosen(fresh, workbench, node):
    from wanattn.tests.host.counting import Counting

    model = fresh
    counting = Counting(model)
    wished = wished_function(counting, "comfy_kitchen_int8")
    with imitations.file_that_names_its_attention(model, wished, "comfy_kitchen_int8"), counting:
        patched = workbench.diagnostics(model)
        if node == "host":
            patched = workbench.backend(patched, "host")
        sample(model if node == "none" else patched)

        report = workbench.report(patched)
    assert counting.counts("role", "kernel")["self", "comfy_kitchen_int8"] == 4
    assert "the file asks for comfy_kitchen_int8" in report.text


@pytest.mark.parametrize("runs", [1, 2], ids=["first run", "loaded already"])
def test_wish_of_a_lora_stands_before_that_of_the_file(fresh, workbench, runs):
    from wanattn.tests.host.counting import Counting

    def never(*args, **named):
        raise AssertionError("the file's function ran")

    counting = Counting(fresh)
    function = wished_function(counting, "comfy_kitchen_sol")
    preferred = [{"backend": "comfy_kitchen_sol", "tau": 0.5}, {"backend": "comfy_kitchen_int8"}]
    lora = imitations.lora_that_names_its_attention(fresh, preferred, function)
    patched = workbench.diagnostics(lora)
    with imitations.file_that_names_its_attention(fresh, never, "comfy_kitchen_int8"):
        for _ in range(runs):
            counting.calls.clear()
            with counting:
                sample(patched)
        report = workbench.report(patched)
        fresh.unpatch_model()

    assert counting.counts("role", "kernel")["self", "comfy_kitchen_sol"] == 4
    told = "a LoRA asks for comfy_kitchen_sol or comfy_kitchen_int8 in 2 modules"
    assert f"{told} in place of the file's comfy_kitchen_int8: in force" in report.text


def wished_function(counting, name):
    kernel = counting.foreign(name, imitations.plain_attention)

    def wished(q, k, v, heads, **named):
        split = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        return kernel(*split).transpose(1, 2).flatten(2)

    return wished


def test_chosen_backend_beats_the_wish_of_a_file(fresh, workbench):
    from wanattn.tests.host.counting import Counting

    model = fresh
    patched = workbench.backend(model, "math")

    def never(*given, **named):
        raise AssertionError("a backend was chosen")

    with (
        imitations.file_that_names_its_attention(model, never, "comfy_kitchen_int8"),
        Counting(model) as counting,
    ):
        sample(patched)

    report = workbench.report(patched)

    assert_told(report, counting)
    assert set(counting.counts("kernel")) == {("math",)}
    assert "comfy_kitchen_int8 in 2 modules: Attention Backend comes before it" in report.text


@pytest.mark.parametrize("dynamic", [False, None], ids=["dynamic=False", "automatic"])
def test_blocks_compiled_one_by_one_need_no_more_graphs_with_our_node(
    workbench, comfy, tmp_path, dynamic
):
    from torch._dynamo.utils import counters
    from wanattn.tests.host import tiny

    tiny.WAN["num_layers"] = 12
    try:
        model = comfy.sd.load_diffusion_model(str(tiny.save_wan(tmp_path, "t2v")))
    finally:
        tiny.WAN["num_layers"] = 2
    graphs, latent = {}, torch.zeros(1, 16, 1, 4, 4)
    for label, patched in (("without", model), ("with", workbench.backend(model, "flash"))):
        torch.compiler.reset()
        counters.clear()
        sample(imitations.compiled_block_by_block(patched, dynamic), steps=1, latent=latent)
        graphs[label] = counters["stats"]["unique_graphs"]
    report = workbench.report(patched)
    assert graphs["with"] == graphs["without"]
    assert {int(block) for (block,) in report.counts("block")} == set(range(12))
