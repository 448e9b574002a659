"""`wanattn bench workflow` where something is wrong: a sentence that says what to do, and the rows so far kept."""

import contextlib
import http.server
import socket
import threading

import pytest
from wanattn.commands.bench.workflow import server as connection
from wanattn.commands.bench.workflow.wiring import Wiring
from wanattn.tests.host.bench import SMALL, bench, idle, saved, times, when
from wanattn.tests.host.conftest import HOST
from wanattn.tests.host.graph import Graph, single
from wanattn.tests.host.server import Server, free_port, wait_until


@pytest.fixture
def workflow(tmp_path):
    return saved(tmp_path, single(None, "refused"))


@contextlib.contextmanager
def web_page(status, body):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{page.server_address[1]}"
        page.shutdown()


class TestNoServer:
    def test_nobody_listens(self, workflow):
        address = f"127.0.0.1:{free_port()}"
        error = bench(address, workflow).error

        assert isinstance(error, RuntimeError)
        assert f"no server at http://{address}" in str(error) and "start ComfyUI" in str(error)

    def test_no_such_name(self, workflow):
        error = bench("http://no-such-machine.invalid:8188", workflow).error
        assert isinstance(error, RuntimeError)
        assert "no server at http://no-such-machine.invalid:8188" in str(error)

    @pytest.mark.parametrize(
        ("status", "body", "said"),
        [
            (200, b"<html>hello</html>", "as ComfyUI does"),
            (404, b"", "status 404"),
            (200, b"[1]", "as ComfyUI does"),
            (401, b"", "USER:PASSWORD"),
        ],
    )
    def test_somebody_else_answers(self, workflow, status, body, said):
        with web_page(status, body) as address:
            error = bench(address, workflow).error
        assert isinstance(error, RuntimeError)
        assert said in str(error)

    def test_nobody_answers(self, workflow, monkeypatch):
        monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            error = bench(f"127.0.0.1:{deaf.getsockname()[1]}", workflow).error
        assert isinstance(error, RuntimeError)
        assert "no answer in 0.5 s" in str(error)

    def test_https_where_there_is_none(self, server, workflow):
        error = bench(f"https://{server.address}", workflow).error
        assert isinstance(error, RuntimeError)
        assert "http://" in str(error)


class TestWrongWorkflow:
    def test_missing_checkpoint(self, server, tmp_path):
        graph = single(None, "missing")
        graph[graph.node("UNETLoader")]["inputs"]["unet_name"] = "mine.safetensors"
        error = bench(server.address, saved(tmp_path, graph)).error

        assert isinstance(error, ValueError)
        for words in ("UNETLoader 1 wants unet_name 'mine.safetensors'", "high_noise.safetensors"):
            assert words in str(error)

    def test_missing_checkpoint_of_one_of_several_outputs(self, server, tmp_path):
        graph = single(None, "one_output")
        graph.save(graph.sample(graph.load("mine"), graph.latent()), "other_output/latent")
        outcome = bench(server.address, saved(tmp_path, graph))

        assert "mine.safetensors" in str(outcome.error)
        wait_until(lambda: idle(server), 30, lambda: server.get("/queue"))

    def test_node_that_the_server_does_not_know(self, server, tmp_path):
        graph = single(None, "unknown")
        graph.add("FancySampler", model=["1", 0])
        error = bench(server.address, saved(tmp_path, graph)).error
        assert isinstance(error, ValueError)
        assert f"FancySampler {graph.node('FancySampler')}" in str(error)

    @pytest.mark.parametrize("slot", [7, -1])
    def test_output_that_a_node_does_not_have(self, server, tmp_path, slot):
        graph = single(None, "slot")
        graph[graph.node("KSamplerAdvanced")]["inputs"]["model"] = ["1", slot]
        error = bench(server.address, saved(tmp_path, graph)).error
        assert isinstance(error, ValueError)
        said = f"KSamplerAdvanced 5 takes its model from output {slot} of UNETLoader 1, needs 0 (MO"
        assert str(error).startswith(said)

    def test_input_that_is_missing(self, server, tmp_path):
        graph = single(None, "input")
        del graph[graph.node("KSamplerAdvanced")]["inputs"]["steps"]
        error = bench(server.address, saved(tmp_path, graph)).error
        assert isinstance(error, ValueError)
        assert "KSamplerAdvanced 5: Required input is missing: steps" in str(error)

    def test_nothing_is_saved(self, server, tmp_path):
        graph = single(None, "unsaved")
        del graph[graph.node("SaveLatent")]
        error = bench(server.address, saved(tmp_path, graph)).error
        assert isinstance(error, ValueError)
        assert "no outputs" in str(error)

    def test_sampler_that_nothing_needs(self, server, tmp_path):
        graph = single(None, "idle")
        graph[graph.node("SaveLatent")]["inputs"]["samples"] = graph.latent()
        error = bench(server.address, saved(tmp_path, graph)).error
        assert isinstance(error, RuntimeError)
        assert "no sampler ran" in str(error)

    def test_backend_that_the_server_does_not_have(self, server, workflow):
        error = bench(server.address, workflow, "--backends", "host,flahs").error
        assert isinstance(error, ValueError)
        assert "--backends flahs, needs some of auto," in str(error)


class TestAnotherModel:
    def unet(self, folder, steps=2):
        graph = Graph()
        model = graph.add("TestUNet")
        words = [graph.add("TestConditioning", seed=seed, width=64) for seed in (1, 2)]
        latent = graph.add("EmptyLatentImage", width=64, height=64, batch_size=1)
        given = {"positive": words[0], "negative": words[1], "steps": steps}
        graph.save(graph.sample(model, latent, **given), "unet/latent")
        return saved(folder, graph)

    def test_is_refused_by_name_as_soon_as_it_samples(self, server, tmp_path):
        before = set(server.get("/history"))
        error = bench(server.address, self.unet(tmp_path, steps=1000)).error

        assert isinstance(error, ValueError)
        assert "model is BaseModel, needs a Wan model" in str(error)
        assert "--any-model" in str(error)
        wait_until(lambda: idle(server), 30, lambda: server.get("/queue"))
        (record,) = [value for key, value in server.get("/history").items() if key not in before]
        assert record["status"]["messages"][-1][0] == "execution_interrupted"

    def test_is_measured_if_asked(self, server, tmp_path):
        outcome = bench(server.address, self.unet(tmp_path), "--any-model")
        assert outcome.error is None
        assert times(outcome) == {"host": 2, "auto": 2}
        assert (outcome.rows("run")["host"].size, outcome.rows("run")["host"].frames) == ("", 0)


class TestFailingRun:
    def test_sampler_that_the_server_has_cached(self, server, workflow, monkeypatch):
        fresh = Wiring.variant
        monkeypatch.setattr(Wiring, "variant", lambda wiring, *_: fresh(wiring, "host", "same"))
        outcome = bench(server.address, workflow)

        assert isinstance(outcome.error, RuntimeError)
        assert "took KSamplerAdvanced 5 from its cache" in str(outcome.error)

    @pytest.fixture
    def strict(self, tmp_path):
        """A workflow whose Attention Backend may not fall back."""
        graph = Graph()
        model = graph.backend(graph.load("high_noise"), "host", "stop")
        graph.save(graph.sample(model, graph.latent()), "strict/latent")
        return saved(tmp_path, graph)

    def test_others_go_on(self, server, strict):
        outcome = bench(server.address, strict, "--backends", "cudnn,host")

        assert outcome.error is None
        assert times(outcome) == {"cudnn": 0, "host": 2}
        assert "KSamplerAdvanced 6 failed" in outcome.rows("run")["cudnn"].reason
        assert "cudnn" in outcome.rows("run")["cudnn"].reason
        assert outcome.told.done == pytest.approx(outcome.told.total)

    def test_none_is_left(self, server, strict):
        outcome = bench(server.address, strict, "--backends", "cudnn")
        assert isinstance(outcome.error, RuntimeError)
        assert "KSamplerAdvanced 6 failed" in str(outcome.error)

    def test_interrupted_by_someone_else(self, server, workflow):
        stop = when("host 5f 2/3 step 1", lambda: server.post("/interrupt", {}))
        path = saved(workflow.parent, single(None, "interrupted", steps=40))
        outcome = bench(server.address, path, *SMALL, "--backends", "auto,host", told=stop)

        assert isinstance(outcome.error, RuntimeError)
        assert "interrupted" in str(outcome.error)
        assert times(outcome) == {"auto": 1, "host": 0}


def test_server_without_the_pack_says_how_to_get_it(tmp_path, workflow):
    (tmp_path / "comfyui" / "custom_nodes").mkdir(parents=True)
    bare = Server(HOST, tmp_path / "comfyui")
    try:
        bare.start()
        error = bench(bare.address, workflow).error
    finally:
        bare.stop()
    assert isinstance(error, RuntimeError)
    assert "no Attention Backend" in str(error) and "custom_nodes" in str(error)
