"""Reports over several runs, over interruptions and failures, and in what is saved."""

import json

import pytest
from safetensors import safe_open
from wanattn.tests.host.graph import Graph, single
from wanattn.tests.host.listener import Listener
from wanattn.tests.host.server import wait_until
from wanattn.tests.host.workbench import read_report


def payloads(server, prefix):
    return [json.loads(path.read_text(encoding="utf-8")) for path in server.files(prefix, ".json")]


def cached_nodes(server, prompt_id):
    messages = dict(server.wait(prompt_id)["status"]["messages"])
    return messages["execution_cached"]["nodes"]


def test_another_seed_gives_a_second_complete_report(server):
    graph = single("flash", "again", seed=1)
    server.run(graph)
    again = single("flash", "again", seed=2)

    cached = cached_nodes(server, server.queue(again))

    assert graph.node("WanAttnBackend") in cached
    first, second = payloads(server, "again/report")
    for payload in (first, second):
        assert payload["totals"] == {"flash": 8}
        assert [run["run"] for run in payload["runs"]] == [1]
        assert payload["runs"][0]["state"] == "finished"


def test_report_can_be_written_again_without_sampling(server):
    server.run(single("flash", "once"))
    graph = single("flash", "once")
    graph[graph.node("WanAttnReport")]["inputs"]["filename_prefix"] = "once/more"

    cached = cached_nodes(server, server.queue(graph))

    assert graph.node("KSamplerAdvanced") in cached
    (report,), (again,) = payloads(server, "once/report"), payloads(server, "once/more")
    assert again["totals"] == report["totals"] == {"flash": 8}


def test_equal_nodes_of_two_graphs_each_show_their_own_status(server):
    server.run(single("math", "equal"))
    graph = Graph()
    graph.add("TestConditioning", seed=1)  # so that the backend node gets another id
    model = graph.backend(graph.load("high_noise"), "math")
    graph.report(model, graph.sample(model, graph.latent(), seed=5), "equal/report")
    with Listener(server.address, "tests") as listener:
        server.run(graph, listener)

    texts = listener.texts_on(graph.node("WanAttnBackend"))
    assert any("math 8/8 calls" in text for text in texts), listener.texts


def test_equal_backends_on_one_loader_are_told_apart(server):
    graph = Graph()
    loaded, latent = graph.load("high_noise"), graph.latent()
    models = [graph.backend(loaded, "math") for _ in range(2)]
    for position, model in enumerate(models):
        sampled = graph.sample(model, latent, seed=position, steps=1 + position)
        graph.report(model, sampled, f"pair/{position}")
    server.run(graph)

    for position in (0, 1):
        (payload,) = payloads(server, f"pair/{position}")
        assert payload["totals"] == {"math": 4 * (1 + position)}
        assert payload["node"] == models[position][0]


def test_two_samplers_of_one_prompt_are_two_runs(server):
    graph = Graph()
    model = graph.backend(graph.load("high_noise"))
    latent = graph.sample(model, graph.latent(), steps=4, end_at_step=2)
    latent = graph.sample(model, latent, steps=4, start_at_step=2, add_noise="disable")
    graph.report(model, latent, "twice")
    server.run(graph)

    report = read_report(server.output, "twice")
    assert [run["calls"] for run in report.payload["runs"]] == [8, 8]
    assert report.counts("run") == {("1",): 8, ("2",): 8}


def test_interrupting_leaves_a_report_of_what_ran(server):
    graph = single("flash", "stopped", steps=5000)
    sampler = graph.node("KSamplerAdvanced")
    with Listener(server.address, "tests") as listener:
        prompt_id = server.queue(graph)
        wait_until(lambda: listener.steps(sampler) >= 3, 60, server.log)
        server.post("/interrupt", {})
        history = server.wait(prompt_id)
        listener.settle(prompt_id)

    assert "execution_interrupted" in dict(history["status"]["messages"])
    report = read_report(server.output, "stopped/report")
    assert report.payload["state"] == report.payload["runs"][0]["state"] == "interrupted"
    assert report.payload["calls"] == len(report.lines) >= 3 * 4
    assert report.payload["totals"] == {"flash": report.payload["calls"]}
    assert any("interrupted" in text for text in listener.texts_on(graph.node("WanAttnBackend")))


def stop_in_the_second_sampler(server, seed, *prefixes):
    """Two samplers on one model, a report behind each; the second is interrupted."""
    graph = Graph()
    model = graph.backend(graph.load("high_noise"))
    first = graph.report(model, graph.sample(model, graph.latent(), seed=seed), prefixes[0])
    second = graph.sample(model, first, seed=8, steps=5000)
    graph.report(model, second, prefixes[1])
    interrupt(server, graph, second[0])


def interrupt(server, graph, sampler):
    with Listener(server.address, "tests") as listener:
        prompt_id = server.queue(graph)
        wait_until(lambda: listener.steps(sampler) >= 2, 60, server.log)
        server.post("/interrupt", {})
        server.wait(prompt_id)


def test_a_report_that_is_written_is_not_written_again_for_a_later_interruption(server):
    stop_in_the_second_sampler(server, 31, "done", "waiting")

    assert [payload["state"] for payload in payloads(server, "done")] == ["finished"]
    assert [payload["state"] for payload in payloads(server, "waiting")] == ["interrupted"]


def test_a_result_from_the_cache_is_not_told_as_this_run(server):
    """The host may keep a sampler's result over an interruption: the last run that was recorded is another one then."""
    stop_in_the_second_sampler(server, 41, "cache/first", "cache/second")

    again = single("flash", "cache/again", seed=41)
    cached = cached_nodes(server, server.queue(again))
    (told,) = payloads(server, "cache/again/report")

    noted = any("came from ComfyUI's cache" in note for note in told["notes"])
    if again.node("KSamplerAdvanced") not in cached:
        assert not noted and told["state"] == "finished"
        pytest.skip("this ComfyUI keeps no result over an interruption")
    assert noted and told["state"] == "interrupted"


def test_run_after_an_interruption_is_complete_and_clean(server):
    graph = single("flash", "resumed", steps=5000)
    interrupt(server, graph, graph.node("KSamplerAdvanced"))

    server.run(single("flash", "resumed"))

    assert [payload["state"] for payload in payloads(server, "resumed/report")] == [
        "interrupted",
        "finished",
    ]
    assert payloads(server, "resumed/report")[1]["totals"] == {"flash": 8}


def test_fallback_is_told_on_the_node_and_in_the_report(server):
    graph = single("cudnn", "fallback")
    with Listener(server.address, "tests") as listener:
        server.run(graph, listener)

    texts = listener.texts_on(graph.node("WanAttnBackend"))
    assert any("asked cudnn, ran flash 8: cuDNN does not exist on cpu" in text for text in texts), (
        texts
    )
    report = read_report(server.output, "fallback/report")
    assert report.payload["requested"] == "cudnn"
    assert report.payload["totals"] == {"flash": 8}
    assert report.payload["fallbacks"][0]["calls"] == 8
    assert {line["reason"] for line in report.lines} == {"cuDNN does not exist on cpu"}


def test_stop_ends_the_run_with_every_reason(server):
    graph = single("cudnn", "refused")
    graph[graph.node("WanAttnBackend")]["inputs"]["on_refusal"] = "stop"

    messages = dict(server.wait(server.queue(graph))["status"]["messages"])

    error = messages["execution_error"]["exception_message"]
    assert "cuDNN does not exist on cpu" in error
    assert "320" in error and "float32" in error
    assert "next best" in error
    assert payloads(server, "refused/report")[0]["state"] == "failed"


def test_unknown_backend_is_refused_before_running(server):
    with pytest.raises(AssertionError, match=r"sgae.*not in"):
        server.queue(single("sgae", "unknown"))


@pytest.mark.parametrize("prefix", ["../outside/report", "blocked/report", "/nowhere/report"])
def test_unwritable_place_never_loses_the_video(server, prefix):
    (server.output / "blocked").write_text("a file where the folder should be", encoding="utf-8")
    name = prefix.split("/")[-2]
    graph = single("flash", f"kept_{name}")
    graph[graph.node("WanAttnReport")]["inputs"]["filename_prefix"] = prefix

    outputs = server.run(graph)

    (text,) = outputs[graph.node("WanAttnReport")]["text"]
    assert "could not be written" in text and "filename_prefix" in text
    assert "flash" in text
    assert server.files(f"kept_{name}/latent", ".latent")


def test_missing_output_folder_is_made(server):
    server.run(single("flash", "deep/er/still"))

    assert payloads(server, "deep/er/still/report")


def test_model_without_our_nodes_says_what_to_wire(server):
    graph = Graph()
    model = graph.load("high_noise")
    graph.report(model, graph.sample(model, graph.latent()), "unwired")

    outputs = server.run(graph)

    (text,) = outputs[graph.node("WanAttnReport")]["text"]
    assert "Attention Backend" in text and "Attention Diagnostics" in text


def test_saved_latent_says_what_ran(server):
    graph = single("flash", "saved")
    server.run(graph)

    with safe_open(server.files("saved/latent", ".latent")[0], "pt") as file:
        metadata = file.metadata()
    assert_provenance(json.loads(metadata["wanattn"]))
    assert json.loads(metadata["workflow"]) == {"nodes": []}


def test_saved_video_says_what_ran(server):
    import av

    graph = single("flash", "film")
    pixels = graph.add("TestPixels", samples=[graph.node("WanAttnReport"), 0])
    video = graph.add("CreateVideo", images=pixels, fps=16.0)
    graph.add("SaveVideo", video=video, filename_prefix="film/video", format="mp4", codec="h264")
    server.run(graph)

    (path,) = server.files("film/video", ".mp4")
    with av.open(str(path)) as file:
        assert_provenance(json.loads(file.metadata["wanattn"]))


def test_saved_image_says_what_ran(server):
    from PIL import Image

    graph = single("flash", "still")
    pixels = graph.add("TestPixels", samples=[graph.node("WanAttnReport"), 0])
    graph.add("SaveImage", images=pixels, filename_prefix="still/image")
    server.run(graph)

    image = Image.open(server.files("still/image", ".png")[0])
    assert_provenance(json.loads(image.info["wanattn"]))


def assert_provenance(provenance):
    (entry,) = provenance.values()
    assert entry["requested"] == "flash"
    assert entry["totals"] == {"flash": 8}
    assert entry["environment"]["torch"]
