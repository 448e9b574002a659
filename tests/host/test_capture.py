"""Attention Diagnostics keeps calls as files: the very tensors that went into attention, within bounds, at no risk."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.record.capture import load as load_call
from wanattn.tests.host.graph import Graph
from wanattn.tests.host.listener import Listener
from wanattn.tests.host.sampling import CALLS, sample
from wanattn.tests.host.server import wait_until
from wanattn.tests.host.workbench import read_report

SELF_BYTES = 3 * 2 * 320 * 256 * 4  # q, k, v; both conditionings; tokens; width; float32
TEXT_BYTES = 2 * (320 + 2 * 512) * 256 * 4


@pytest.fixture
def capturing(workbench):
    def capturing(model, capture="0,1", limit=4.0, at="20"):
        inputs = {"model": model, "capture": capture, "capture_limit_gib": limit}
        return workbench.run("WanAttnDiagnostics", at, **inputs)[0]

    return capturing


@pytest.fixture
def notes(workbench):
    """The notes of the last job that are about capturing."""

    def notes(model):
        found = workbench.report(model).payload["notes"]
        return [note for note in found if note.startswith("capture: ")]

    return notes


def files(output):
    return sorted(path.name for path in (output / "wanattn").glob("capture_*"))


class Spy:
    """Another pack's override that remembers what came in and what the host made of it."""

    def __init__(self):
        self.calls = []

    def install(self, model):
        model = model.clone()

        def spying_attention(func, q, k, v, heads, *args, **kwargs):
            out = func(q, k, v, heads, *args, **kwargs)
            split = [x.view(*x.shape[:2], heads, -1).transpose(1, 2).clone() for x in (q, k, v)]
            self.calls.append((*split, out.clone()))
            return out

        options = model.model_options["transformer_options"]
        options["optimized_attention_override"] = spying_attention
        return model


@pytest.fixture
def spy():
    return Spy()


def attention(captured):
    inputs = captured.inputs
    out = F.scaled_dot_product_attention(inputs.q, inputs.k, inputs.v, scale=inputs.scale)
    return out.transpose(1, 2).flatten(2)  # B N (H D)


def test_the_files_hold_what_went_into_attention_and_give_what_came_out(
    load, workbench, capturing, spy
):
    plain = sample(spy.install(load("t2v")))
    spy.calls.clear()
    model = capturing(spy.install(load("t2v")))

    assert torch.equal(sample(model), plain)

    assert files(workbench.output) == [
        f"capture_00001_{role}_{block}.safetensors" for role in ("self", "text") for block in "01"
    ]
    order = [("self", 0), ("text", 0), ("self", 1), ("text", 1)]
    for (role, block), (*tensors, out) in zip(order, spy.calls, strict=False):
        path = workbench.output / "wanattn" / f"capture_00001_{role}_{block}.safetensors"
        captured = load_call(path)
        found = (captured.inputs.q, captured.inputs.k, captured.inputs.v)
        assert all(torch.equal(one, other) for one, other in zip(found, tensors, strict=True))
        assert captured.inputs.q.transpose(1, 2).is_contiguous()
        torch.testing.assert_close(attention(captured), out)
        assert captured.call.role == role
        assert captured.facts["block"] == str(block) and captured.facts["step"] == "0"
        assert captured.facts["model"] == "WAN21" and captured.facts["cond"] == "negative+positive"
        assert captured.facts["active"] == "flash" and captured.facts["requested"] == "host"
        assert 0.9 < float(captured.facts["sigma"]) <= 1
        assert {"wanattn", "torch", "python", "comfyui", "platform"} <= set(captured.facts)


def before(workbench, capturing, model):
    return workbench.backend(capturing(model), "math")


def after(workbench, capturing, model):
    return capturing(workbench.backend(model, "math"))


def displaced(workbench, capturing, model):
    return Spy().install(after(workbench, capturing, model))


def left(workbench, capturing, model):
    return capturing(workbench.backend(workbench.backend(model, "math"), "host", at="11"))


@pytest.mark.parametrize("wire", [before, after, displaced, left])
def test_it_does_not_matter_where_the_node_is(load, workbench, capturing, wire):
    model = wire(workbench, capturing, load("t2v"))

    sample(model)

    assert len(files(workbench.output)) == 4
    captured = load_call(workbench.output / "wanattn/capture_00001_self_1.safetensors")
    assert captured.facts["active"] == ("flash" if wire is displaced else "math")
    assert captured.facts["requested"] == "math"


def test_one_call_a_role_and_range(load, workbench, capturing, notes):
    model = capturing(load("i2v_tokens"), "0-")

    sample(model, steps=3)

    assert files(workbench.output) == [
        f"capture_00001_{role}_0-.safetensors" for role in ("image", "self", "text")
    ]
    plan, cost = notes(model)
    assert plan.startswith("capture: 3 calls, ")
    assert "/wanattn/capture_00001_*; the same again for every queued run until capture is" in plan
    assert (
        cost.startswith("capture: 3 files written in ") and "which is in the time of step 0" in cost
    )


def test_every_job_has_its_set_and_its_second_sampler_adds_none(load, workbench, capturing, notes):
    model = capturing(load("t2v"), "1")

    for prompt in ("first", "first", "second"):
        sample(model, prompt=prompt)

    assert files(workbench.output) == [
        f"capture_0000{number}_{role}_1.safetensors"
        for number in (1, 2)
        for role in ("self", "text")
    ]
    assert "capture_00002_*" in notes(model)[0]


def test_nodes_of_one_job_do_not_overwrite_each_other(load, workbench, capturing):
    model = capturing(capturing(load("t2v"), "0"), "0,1", at="21")

    sample(model)

    names = [name[:13] for name in files(workbench.output)]
    assert names == ["capture_00001"] * 2 + ["capture_00002"] * 4
    first, second = (
        load_call(workbench.output / "wanattn" / f"capture_0000{number}_self_0.safetensors")
        for number in (1, 2)
    )
    assert (first.facts["node"], second.facts["node"]) == ("20", "21")


def test_numbers_go_on_after_the_highest_that_is_there(load, workbench, capturing):
    folder = workbench.output / "wanattn"
    folder.mkdir()
    (folder / "capture_00041_other_0-9.safetensors").touch()
    (folder / "capture_mine.safetensors").touch()

    sample(capturing(load("t2v"), "0"))

    assert "capture_00042_self_0.safetensors" in files(workbench.output)


def test_what_does_not_fit_the_limit_is_left_out_and_named(load, workbench, capturing, notes):
    limit = (SELF_BYTES + TEXT_BYTES) / 2**30
    model = capturing(load("t2v"), "0,1", limit)

    sample(model)

    assert [name[14:20] for name in files(workbench.output)] == ["self_0", "text_0"]
    plan, needs, lost, _ = notes(model)
    assert plan.startswith(f"capture: 4 calls, {2 * (SELF_BYTES + TEXT_BYTES) / 2**20:.1f} MiB")
    assert "capture_limit_gib is 0.004" in needs and "raise it" in needs
    assert lost == "capture: left out self 1, text 1: over capture_limit_gib"
    on_disk = sum(path.stat().st_size for path in (workbench.output / "wanattn").glob("capture_*"))
    assert limit * 2**30 < on_disk < limit * 2**30 + 4 * 2**10  # and the headers


@pytest.mark.parametrize(
    ("number", "more"),
    [(5, ""), (6, ""), (7, " and 1 more"), (9, " and 3 more"), (13, " and 7 more")],
)
def test_of_many_calls_that_are_left_out_some_are_named(comfy, number, more):
    from wanattn.nodes.host.capture import _few

    names = [f"self {block}" for block in range(number)]

    assert _few(names) == ", ".join(names[:6]) + more


def test_off_writes_nothing_and_hooks_nothing(load, workbench, capturing, notes, monkeypatch):
    from wanattn.attention.run.forward import Forward

    entered = []
    monkeypatch.setattr(Forward, "captured", lambda *given: entered.append(given))
    model = capturing(load("t2v"), "")

    sample(model)

    assert entered == [] and files(workbench.output) == [] and notes(model) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2", "capture 2: block 2, this model has blocks 0 to 1"),
        ("0,1-5", "capture 1-5: block 5, this model has blocks 0 to 1"),
        ("0-9,5-12", "capture: ranges 0-9 and 5-12 overlap"),
        ("9-5", "capture: range 9-5 runs backwards"),
        ("all", "capture: 'all' is no range, write 3, 0-3 or 18-"),
        ("50%-", "capture: '50%-' is no range"),
    ],
)
def test_ranges_that_make_no_sense_end_in_a_sentence(load, workbench, capturing, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        capturing(load("t2v"), text)


def test_typed_mistakes_are_told_before_anything_runs(workbench):
    validate = workbench.nodes["WanAttnDiagnostics"].validate_inputs

    assert validate() is True and validate(capture=None) is True and validate(capture="0-9") is True
    assert validate(capture="9-5") == "capture: range 9-5 runs backwards"


def test_a_model_without_numbered_blocks_is_refused(unet, capturing):
    with pytest.raises(ValueError, match="capture 0-: block 0, this model has no numbered blocks"):
        capturing(unet, "0-")


def test_a_folder_that_cannot_be_made_is_a_note(load, workbench, capturing, notes):
    model = capturing(load("t2v"), "0")
    (workbench.output / "wanattn").write_text("in the way", encoding="utf-8")

    latent = sample(model)

    torch.testing.assert_close(latent, sample(load("t2v")))
    (workbench.output / "wanattn").unlink()
    assert "capture: left out self 0, text 0: File exists" in notes(model)


def test_a_disk_that_is_nearly_full_is_left_alone(load, workbench, capturing, notes, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**29, 2**29))
    model = capturing(load("t2v"), "0")

    sample(model)

    assert files(workbench.output) == []
    assert "capture: left out self 0, text 0: 0.5 GiB free on the disk, needs 1.0 GiB" in notes(
        model
    )


def test_too_little_memory_for_the_copy_is_a_note(load, workbench, capturing, notes, monkeypatch):
    from wanattn.nodes.host import capture

    class Memory:  # for this pack only: the host would run the conditionings one by one
        available = 2 * TEXT_BYTES - 2**18

    monkeypatch.setattr(capture, "psutil", SimpleNamespace(virtual_memory=Memory))
    model = capturing(load("t2v"), "0")

    sample(model)

    assert files(workbench.output) == ["capture_00001_self_0.safetensors"]
    assert "capture: left out text 0: 5.0 MiB of memory free, needs 5.2 MiB" in notes(model)


def test_a_write_that_breaks_off_leaves_nothing_behind(load, workbench, capturing, notes):
    resource = pytest.importorskip("resource", reason="no limits on file sizes here")
    model = capturing(load("t2v"), "0")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SELF_BYTES // 2, before[1]))
    try:
        latent = sample(model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    torch.testing.assert_close(latent, sample(load("t2v")))
    assert files(workbench.output) == []
    assert any("left out self 0" in note and "large" in note for note in notes(model))


def test_a_call_that_fails_is_kept_with_its_error(load, workbench, capturing):
    model = capturing(workbench.backend(load("t2v"), "cudnn", "stop"), "0-1")

    with pytest.raises(RuntimeError, match="cuDNN does not exist on cpu"):
        sample(model)

    assert files(workbench.output) == ["capture_00001_self_0-1.safetensors"]
    captured = load_call(workbench.output / "wanattn/capture_00001_self_0-1.safetensors")
    assert "cuDNN does not exist on cpu" in captured.facts["error"]
    assert "active" not in captured.facts


def test_the_time_of_writing_is_no_time_of_a_call(load, workbench, capturing, notes, monkeypatch):
    from wanattn.nodes.host import capture

    def slowly(*given):
        time.sleep(0.5)
        return save(*given)

    save = capture.save
    monkeypatch.setattr(capture, "save", slowly)
    model = capturing(load("t2v"), "0,1")

    sample(model)

    assert max(float(line["ms"]) for line in workbench.report(model).lines) < 500
    assert "which is in the time of step 0" in notes(model)[-1]
    assert 2 <= float(notes(model)[-1].partition(" in ")[2].partition(" s")[0]) < 10


@pytest.mark.parametrize("taken", [True, False])
def test_compiled_calls_are_kept_where_they_come_by_and_missed_aloud_elsewhere(
    load, workbench, capturing, notes, taken
):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    torch.compiler.reset()
    model = workbench.backend(load("t2v"), "math") if taken else load("t2v").clone()
    set_torch_compile_wrapper(model=model, backend="eager")
    model = capturing(model, "0,1")

    sample(model)
    torch.compiler.reset()

    assert len(files(workbench.output)) == (4 if taken else 0)
    missed = "no call came by in blocks 0, 1, calls inside a compiled graph are not seen"
    assert (f"capture: {missed}" in notes(model)) is not taken


def graph_of(capture, steps=2, prefix="captured", **inputs):
    graph = Graph()
    model = graph.diagnostics(graph.load("high_noise"))
    graph[model[0]]["inputs"] |= {"capture": capture, **inputs}
    latent = graph.sample(model, graph.latent(), steps=steps)
    graph.save(graph.report(model, latent, f"{prefix}/report"), f"{prefix}/latent")
    return graph


@pytest.fixture
def captures(server):
    """The files that a test adds."""
    before = set(files(server.output))
    return lambda: [name for name in files(server.output) if name not in before]


def test_server_shows_the_size_before_it_writes(server, captures):
    graph = graph_of("0,1")
    with Listener(server.address, "tests") as listener:
        server.run(graph, listener)

    assert len(captures()) == 4
    texts = listener.texts_on(graph.node("WanAttnDiagnostics"))
    planned = [text for text in texts if "capture: 2 calls, " in text]
    assert planned and "written" not in planned[0]
    assert "capture: 4 files written" in texts[-1]
    call = load_call(server.output / "wanattn" / captures()[0]).call
    assert (call.role, call.batch, call.heads, call.q_len) == ("self", 2, 2, 320)
    notes = read_report(server.output, "captured/report").payload["notes"]
    assert any(note.startswith("capture: 4 calls, ") for note in notes)


def test_queueing_twice_gives_two_sets(server, captures):
    for seed in (1, 2):
        graph = graph_of("0-1", prefix="twice")
        graph[graph.node("KSamplerAdvanced")]["inputs"]["noise_seed"] = seed
        server.run(graph)

    assert len(captures()) == 4
    assert len({name[:13] for name in captures()}) == 2


def test_interrupting_keeps_what_is_there(server, captures):
    graph = graph_of("0-1", steps=5000, prefix="stopped_capture")
    with Listener(server.address, "tests") as listener:
        prompt_id = server.queue(graph)
        wait_until(lambda: listener.steps(graph.node("KSamplerAdvanced")) >= 2, 60, server.log)
        server.post("/interrupt", {})
        server.wait(prompt_id)

    assert [load_call(server.output / "wanattn" / name).call.role for name in captures()] == [
        "self",
        "text",
    ]


def test_server_refuses_ranges_that_make_no_sense(server, captures):
    with pytest.raises(AssertionError, match="capture: range 9-5 runs backwards"):
        server.queue(graph_of("9-5"))
    with pytest.raises(AssertionError, match="capture_limit_gib"):
        server.queue(graph_of("0", capture_limit_gib=0))
    messages = server.wait(server.queue(graph_of("0-9")))["status"]["messages"]
    error = dict(messages)["execution_error"]["exception_message"]
    assert "capture 0-9: block 9, this model has blocks 0 to 1" in error
    assert captures() == []


def test_prompts_from_before_the_input_was_there_stay_valid(server, captures):
    graph = graph_of("", prefix="older")
    del graph[graph.node("WanAttnDiagnostics")]["inputs"]["capture"]

    server.run(graph)

    assert captures() == []
    assert read_report(server.output, "older/report").payload["calls"] == CALLS
