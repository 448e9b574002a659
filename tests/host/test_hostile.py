"""What other packs, other runs and odd names must not be able to break."""

from __future__ import annotations

from wanattn.tests.host.graph import Graph, single
from wanattn.tests.host.listener import Listener
from wanattn.tests.host.sampling import sample
from wanattn.tests.host.server import wait_until


def test_interrupting_the_second_expert_leaves_both_reports(server):
    graph = Graph()
    latent, models = graph.latent(), []
    first = {"end_at_step": 2, "return_with_leftover_noise": "enable", "steps": 4}
    second = {"start_at_step": 2, "add_noise": "disable", "steps": 5000}
    for name, part in (("high_noise", first), ("low_noise", second)):
        models.append(graph.backend(graph.load(name), "flash"))
        latent = graph.sample(models[-1], latent, 7, **part)
    for model, name in zip(models, ("high", "low"), strict=True):
        latent = graph.report(model, latent, f"second/{name}")
    graph.save(latent, "second/latent")

    with Listener(server.address, "tests") as listener:
        job = server.queue(graph)
        wait_until(lambda: listener.steps(graph.node("KSamplerAdvanced", 1)) >= 2, 60, server.log)
        server.post("/interrupt", {})
        server.wait(job)

    written = sorted(path.name for path in (server.output / "second").glob("*.json"))
    assert written == ["high_00001.json", "low_00001.json"]


def test_a_prefix_without_a_name_gets_the_default_one(server):
    graph = single("flash", "nameless", seed=71)
    graph[graph.node("WanAttnReport")]["inputs"]["filename_prefix"] = "."

    (text,) = server.run(graph)[graph.node("WanAttnReport")]["text"]

    assert "written: wanattn/report_" in text


def test_a_wrapper_that_empties_the_slot_does_not_end_the_run(load, workbench):
    from comfy.patcher_extension import WrappersMP

    def greedy(executor, *args, **kwargs):
        args[5].pop("optimized_attention_override", None)
        return executor(*args, **kwargs)

    model = workbench.diagnostics(load("t2v")).clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "another pack", greedy)

    assert sample(model).isfinite().all()


def test_an_odd_name_in_the_report_never_costs_the_video(load, workbench):
    def attend(func, *args, **kwargs):
        return func(*args, **kwargs)

    attend.__qualname__ = "pack$a_$\udce4"
    model = load("t2v").clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = attend
    patched = workbench.diagnostics(model)
    sample(patched)

    report = workbench.report(patched, after="the video")

    assert report.after == "the video"


def test_the_taps_of_one_model_share_their_timers(load, workbench):
    from wanattn.nodes.host.tap import taps

    patched = workbench.diagnostics(workbench.backend(load("t2v"), "flash"))

    backend, diagnostics = taps(patched)
    assert backend.recorder.stopwatch is diagnostics.recorder.stopwatch
