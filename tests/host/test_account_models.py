"""Every kind of Wan model: calls made = calls told, each under its role, block, backend and step."""

from __future__ import annotations

import pytest
import torch
from wanattn.tests.host.account import assert_account, assert_told, conds_of, true_conds_of

KINDS = [
    "t2v",
    "i2v",
    "i2v_tokens",
    "fun_control",
    "reference",
    "phantom",
    "ti2v_5b",
    "camera",
    "camera_2.2",
    "vace",
    "humo",
    "s2v",
    "animate",
    "animate2",
    "causal",
    "scail",
    "dancer",
]
PATCHES = ("speech", "speech of two", "camera path")
# What passes the hook by in these: how many of the calls of a run of two steps.
PAST = {
    "s2v": 2,
    "animate": 2,
    "causal": 36,
    "dancer": 6,
    "speech": 4,
    "speech of two": 4,
    "camera path": 4,
}


@pytest.fixture(scope="session")
def made(comfy, tmp_path_factory):
    """A model by its kind or patch, with what belongs to it: (model, kind, parts, cfg)."""
    from wanattn.tests.host import kinds, model_patches

    folder, loaded = tmp_path_factory.mktemp("kinds"), {}

    def kind(name):
        if reason := kinds.missing(name):
            pytest.skip(reason)
        return kinds.load(folder, name), name, {}, None

    def patch(name):
        pytest.importorskip("comfy.ldm.wan.model_multitalk", reason="this ComfyUI has none")
        if name == "camera path":
            pytest.importorskip("comfy.ldm.wan.uni3c", reason="this ComfyUI has no Uni3C")
            patched = model_patches.camera_path(model_patches.wide_model(folder))
            return patched.model, "t2v", patched.parts, None
        patched = model_patches.speech(model_patches.wide_model(folder), 1 + ("two" in name))
        return patched.model, "t2v", patched.parts, 1.0  # speech is told to one conditioning

    def made(name):
        if name not in loaded:
            loaded[name] = patch(name) if name in PATCHES else kind(name)
        return loaded[name]

    return made


@pytest.fixture
def run(made, workbench):
    """Samples a kind on a backend; gives the report, the count and the latent."""
    from wanattn.tests.host import kinds
    from wanattn.tests.host.counting import Counting

    def run(name, patched, steps=2):
        _, kind, parts, cfg = made(name)
        known = {cond: c[0][0] for cond, c in kinds.conditionings(patched, kind).items()}
        with Counting(patched, known, parts) as counting:
            latent = kinds.sample(patched, kind, steps, cfg=cfg)
        return workbench.report(patched), counting, latent

    return run


def plain(made, name):
    from wanattn.tests.host import kinds

    model, kind, _, cfg = made(name)
    return kinds.sample(model, kind, cfg=cfg)


@pytest.mark.parametrize("name", (*KINDS, *PATCHES))
def test_the_count_sees_every_block(made, run, workbench, name):
    """The fixture's own test: what the model is made of is what was counted."""
    model = made(name)[0]
    blocks = {str(number) for number in range(len(model.model.diffusion_model.blocks))}

    _, counting, latent = run(name, workbench.diagnostics(model))

    assert latent.isfinite().all() and latent.std() > 0.1
    for role in ("self", "text"):
        assert {b for (r, b) in counting.counts("role", "block") if r == role} == blocks
    assert set(counting.steps) >= {0, 1}
    assert set(counting.counts("kernel")) == {("flash",)}


@pytest.mark.parametrize("name", (*KINDS, *PATCHES))
@pytest.mark.parametrize("backend", ["math", "host"])
def test_calls_told_are_the_calls_made(made, run, workbench, name, backend):
    patched = workbench.diagnostics(workbench.backend(made(name)[0], backend))
    report, counting, _ = run(name, patched)

    step = () if name == "causal" else ("step",)  # its loop goes over the frames, not the steps
    if backend == "host":
        facts = ("role", "block", *step)  # a host's function is opaque unless it was profiled
    else:
        facts = ("role", "block", "kernel", *step)
        assert set(counting.counts("kernel")) == {("math",)}
    assert_told(report, counting, *facts)
    assert report.counts("q_len", "kv_len") == counting.counts("q_len", "kv_len")


@pytest.mark.parametrize("name", (*KINDS, *PATCHES))
def test_conditioning_of_every_call(made, run, workbench, name):
    report, counting, _ = run(name, workbench.backend(made(name)[0], "flash"))

    assert conds_of(report) == true_conds_of(counting)


@pytest.mark.parametrize("name", (*KINDS, *PATCHES))
@pytest.mark.parametrize("how", ["diagnostics", "host", "diagnostics before host"])
def test_watching_changes_no_bit(made, run, workbench, name, how):
    patched = made(name)[0]
    if "diagnostics" in how:
        patched = workbench.diagnostics(patched)
    if "host" in how:
        patched = workbench.backend(patched, "host")

    assert torch.equal(run(name, patched)[2], plain(made, name))


@pytest.mark.parametrize("name", (*KINDS, *PATCHES))
def test_account_adds_up(made, run, workbench, name):
    report, counting, _ = run(name, workbench.diagnostics(made(name)[0]))

    calls = len(counting.calls)
    assert_account(report, calls, calls - PAST.get(name, 0))


@pytest.mark.parametrize("name", [name for name in (*KINDS, *PATCHES) if name not in PAST])
def test_no_word_of_calls_that_were_missed_where_none_were(made, run, workbench, name):
    report, counting, _ = run(name, workbench.diagnostics(made(name)[0]))

    assert report.payload["calls"] == len(counting.calls)
    past = report.payload.get("account", {}).get("past", [])
    assert not past and "did not come through" not in report.text


@pytest.mark.parametrize("name", PAST)
def test_backend_takes_the_calls_that_pass_the_hook_by(made, run, workbench, name):
    patched = workbench.backend(made(name)[0], "math", "stop")
    report, counting, latent = run(name, patched)

    assert set(counting.counts("kernel")) == {("math",)}
    assert report.payload["totals"] == {"math": len(counting.calls)}
    torch.testing.assert_close(latent, plain(made, name), rtol=1e-3, atol=1e-3)


RULED = {"s2v": "audio", "humo": "audio", "animate": "face", "dancer": "music", "vace": "vace"}
RULED |= {"speech": "speech", "animate2": "self", "causal": "self"}


@pytest.mark.parametrize(("name", "role"), RULED.items())
def test_rule_by_role_takes_what_that_role_does(made, run, ruled, name, role):
    patched = ruled(made(name)[0], (role, "", "", "math"), backend="flash")
    report, counting, _ = run(name, patched)

    kernels = counting.counts("role", "kernel")
    assert {kernel for (r, kernel) in kernels if r.partition(" ")[0] == role} == {"math"}
    assert {kernel for (r, kernel) in kernels if r.partition(" ")[0] != role} <= {"flash"}
    assert_told(report, counting, "role", "kernel")
