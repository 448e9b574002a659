"""What a node finds out at each forward of its model, and how it stands to the options and modules it is given."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from wanattn.tests.host.sampling import sample

KEY, SLOT = "wanattn", "optimized_attention_override"
SIGMAS = [1.0, 0.6, 0.3, 0.0]
OPTION = "torch_compile_kwargs"


@pytest.fixture
def met(comfy):
    """One forward within a run of a patched model, in place of the model's own; gives what `inside` finds."""
    from comfy.patcher_extension import WrapperExecutor
    from wanattn.nodes.host.run.sampler import Sampler

    def met(patched, options, t=(1.0,), text=None, inside=lambda forward, options: forward, **more):
        (*_, tap) = patched.get_attachment(KEY)

        def model(x, t, concat, text, control, given, **kwargs):
            return inside(given[KEY], given)

        run = WrapperExecutor.new_class_executor(model, patched.model, [tap.apply_model])
        with tap.visited(patched, Sampler(None, SIGMAS), (1, 16, 1, 8, 8)):
            return run.execute(None, torch.tensor(t), None, text, None, options, **more)

    return met


@pytest.mark.parametrize(
    ("text", "image", "lengths"),
    [
        (torch.zeros(1, 512, 4096), None, (512, None)),
        (torch.zeros(2, 77, 64), torch.zeros(1, 257, 1280), (77, 257)),
        (torch.zeros(77, 64), torch.zeros(257, 1280), (None, 257)),
        (torch.zeros(1, 2, 77, 64), torch.zeros(1, 3, 514, 1280), (None, 514)),
        (None, "image", (None, None)),
        ([1], None, (None, None)),
    ],
)
def test_the_lengths_of_text_and_image_are_those_of_their_tokens(
    load, workbench, met, text, image, lengths
):
    forward = met(workbench.diagnostics(load("t2v")), {}, text=text, clip_fea=image)
    assert (forward.text_len, forward.image_len) == lengths


@pytest.mark.parametrize(
    ("t", "sigma", "step"), [((0.6, 0.3), 0.6, 1), (((0.3,), (1.0,)), 0.3, 2), (1.0, 1.0, 0)]
)
def test_the_step_is_that_of_the_first_noise_level_of_a_batch(load, workbench, met, t, sigma, step):
    options = {"cond_or_uncond": [1, 0]}
    forward = met(workbench.diagnostics(load("t2v")), options, t=t)

    assert (forward.sigma, forward.step) == (pytest.approx(sigma), step)
    assert forward.cond == "negative+positive"


def test_a_model_that_is_given_no_options_gets_some(load, workbench, met):
    forward, slot = met(
        workbench.diagnostics(load("t2v")), None, inside=lambda *met: (met[0], met[1][SLOT])
    )
    assert forward.text_len is None and not slot.dispatcher.chooses


@pytest.mark.parametrize("there", [True, False])
def test_options_are_as_before_when_a_forward_is_over(load, workbench, met, there):
    def theirs(func, *args, **kwargs):
        return func(*args, **kwargs)

    options = {"block_index": 3, **({SLOT: theirs} if there else {})}
    given = dict(options)
    watch = met(workbench.diagnostics(load("t2v")), options, inside=lambda _, inside: inside[SLOT])

    assert options == given
    assert watch is not theirs and watch.previous is (theirs if there else None)


@pytest.mark.parametrize(
    ("backend", "on_refusal", "rule", "strict"),
    [
        ("math", "stop", (), "math"),
        ("flash", "stop", (), "flash"),
        ("math", "next best", (), ""),
        ("host", "stop", (), ""),
        ("host", "stop", ("self", "", "", "math"), ""),
        ("host", "next best", ("self", "", "", "math"), ""),
        ("flash", "next best", ("self", "", "", "math"), ""),
    ],
)
def test_only_a_backend_that_must_run_every_call_ends_a_run(
    load, ruled, met, backend, on_refusal, rule, strict
):
    patched = ruled(load("t2v"), *filter(None, [rule]), backend=backend, on_refusal=on_refusal)
    (tap,) = patched.get_attachment(KEY)
    assert met(patched, {SLOT: tap.override}).strict == strict


@pytest.mark.parametrize("backend", ["flash", "host"])
@pytest.mark.parametrize("there", [True, False])
def test_calls_past_the_hook_go_to_the_backend_even_where_the_slot_was_emptied(
    load, workbench, met, backend, there
):
    patched = workbench.diagnostics(workbench.backend(load("t2v"), backend))
    first, last = patched.get_attachment(KEY)
    forward = met(patched, {SLOT: first.override} if there else {})

    left = last._watch.dispatcher
    assert forward.taker is (left if backend == "host" and not there else first.dispatcher)


def test_a_call_of_unknown_lengths_is_looked_for_among_the_modules(load, workbench, met):
    forward = met(workbench.diagnostics(load("t2v")), {})
    role = met(workbench.diagnostics(load("t2v")), {}, inside=lambda forward, _: forward.seek())

    assert forward.sought == {} and role == ""


@pytest.mark.parametrize(("there", "renewed"), [(True, 1), (False, 0)])
def test_a_compiled_graph_is_renewed_only_where_its_calls_would_come_to_us(
    load, workbench, met, monkeypatch, there, renewed
):
    made = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: made.append(1))
    patched = workbench.backend(load("t2v"), "math")
    patched.model_options[OPTION] = {}
    (tap,) = patched.get_attachment(KEY)
    met(patched, {SLOT: tap.override} if there else {})

    assert len(made) == renewed


@pytest.mark.parametrize("compiled", [True, False])
def test_names_of_functions_lead_past_us_unless_a_graph_was_compiled_with_them(
    load, workbench, met, compiled
):
    import comfy.ldm.modules.attention as host

    patched, plain = workbench.diagnostics(load("t2v")), host.attention_pytorch
    patched.model_options.update({OPTION: {}} if compiled else {})

    found = met(patched, {}, inside=lambda *_: host.attention_pytorch)
    assert (found is plain) == compiled and host.attention_pytorch is plain


def test_a_step_that_was_guessed_is_said(load, workbench, met):
    def in_loop(patched, sigmas, i):
        met(patched, {})

    shown, guessed = (workbench.diagnostics(load("t2v")) for _ in range(2))
    in_loop(shown, SIGMAS, 1)
    met(guessed, {})

    notes = [patched.get_attachment(KEY)[0].notes() for patched in (shown, guessed)]
    assert notes[0] == []
    assert notes[1][0].startswith("the sampler does not show which step it is in")


def wrapper_of(count: int):
    """As the host's compile helper makes it, of modules that it leaves as they are."""
    held = dict.fromkeys(range(count))

    def wrapper(executor, *args, **kwargs):
        return executor(*args, **kwargs) if len(held) == count else None

    return wrapper


@pytest.mark.parametrize(("parts", "nodes", "hooks"), [(0, 1, 1), (0, 2, 1), (1, 1, 0), (2, 2, 0)])
def test_modules_are_followed_once_and_never_where_hooks_would_break_a_graph(
    load, workbench, parts, nodes, hooks
):
    """Blocks that are compiled one by one share a graph if it holds no number."""
    from comfy.patcher_extension import WrappersMP

    model, found = load("t2v").clone(), []
    if parts:
        key = "torch.compile"
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, wrapper_of(parts))
    patched = workbench.backend(model, "flash")
    patched = workbench.diagnostics(patched) if nodes == 2 else patched
    first = patched.get_attachment(KEY)[0]
    module = patched.model.diffusion_model.blocks[0].self_attn

    def look(step, *_):
        found.append((len(module._forward_pre_hooks), len(module._forward_hooks)))

    sample(patched, callback=look)

    assert found == [(hooks, hooks)] * 2
    assert not module._forward_pre_hooks
    assert first.override.numbers == (parts < 2)


def test_the_guider_of_another_model_ends_the_job_not_its_guest(load, workbench, monkeypatch):
    from wanattn.nodes.host import tap as taps
    from wanattn.nodes.host.run.sampler import Sampler

    written = []
    monkeypatch.setattr(taps, "write_unfinished", lambda facts, *_: written.append(facts.node))
    patched = workbench.backend(load("t2v"), "math")
    (tap,) = patched.get_attachment(KEY)

    def fail(step, *_):
        raise ArithmeticError

    with pytest.raises(ArithmeticError), tap.visited(patched, Sampler(), (1,)):
        raise ArithmeticError
    assert written == [] and tap.recorder.runs[-1].state == "failed"

    with pytest.raises(ArithmeticError):
        sample(patched, callback=fail)
    assert "10" in written


@pytest.mark.parametrize("decided", [True, False])
def test_what_a_file_asks_for_is_told_as_overruled_where_a_node_decides(
    load, workbench, met, decided
):
    wish = SimpleNamespace(config="sage", function=None)
    model = load("t2v")
    module = model.model.diffusion_model.blocks[0].self_attn
    object.__setattr__(module, "comfy_attention", wish)
    try:
        patched = workbench.backend(model) if decided else workbench.diagnostics(model)
        (tap,) = patched.get_attachment(KEY)
    finally:
        object.__delattr__(module, "comfy_attention")

    fate = "Attention Backend comes before it" if decided else "in force where no override"
    assert tap.facts([]).coverage[0].startswith(f"the file asks for sage in 1 module: {fate}")
