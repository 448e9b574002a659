"""`wanattn bench workflow` on a real server: six interleaved runs, their rows, and nothing left behind."""

import csv
import json
import re

import pytest
from wanattn.bench.results.compare import verdicts
from wanattn.commands.bench import main as command
from wanattn.commands.bench.workflow import server as connection
from wanattn.commands.bench.workflow.command import BENCHMARK
from wanattn.tests.host.bench import SMALL, bench, saved, when
from wanattn.tests.host.graph import Graph, experts, single

OURS = ("WanAttnBackend", "WanAttnDiagnostics")


def history(server, after=()):
    """The server's records of prompts since, in the order of their runs."""
    records = [record for key, record in server.get("/history").items() if key not in set(after)]
    return sorted(records, key=lambda record: record["prompt"][0])


def nodes(record, *classes):
    return {key: node for key, node in record["prompt"][2].items() if node["class_type"] in classes}


def backends(record):
    return {node["inputs"]["backend"] for node in nodes(record, "WanAttnBackend").values()}


def cached(record):
    messages = dict(record["status"]["messages"])
    return set(messages["execution_cached"]["nodes"])


@pytest.fixture(scope="module")
def six(server, tmp_path_factory):
    """Two experts without any of our nodes, measured with the defaults."""
    graph = experts(None, "bench")
    path = saved(tmp_path_factory.mktemp("flow"), graph)
    before, text = server.get("/history"), path.read_bytes()
    outcome = bench(server.address, path, settings="4step_base,4step_auto")
    assert outcome.error is None, outcome.error
    assert path.read_bytes() == text
    return graph, outcome, history(server, before)


def test_six_runs_interleave(six):
    _, _, records = six

    order = [backend for record in records for backend in backends(record)]
    assert order == ["host", "auto", "host", "auto", "auto", "host"]
    assert all(record["status"]["status_str"] == "success" for record in records)


def test_every_run_samples_and_only_the_first_loads(six):
    graph, _, records = six
    loaders = {key for key, node in graph.items() if node["class_type"] == "UNETLoader"}
    samplers = {key for key, node in graph.items() if node["class_type"] == "KSamplerAdvanced"}

    for record in records[1:]:
        assert loaders <= cached(record)
        assert not samplers & cached(record)
    ids = [key for record in records for key in nodes(record, *OURS)]
    assert len(ids) == len(set(ids)) == 6 * 4


def test_runs_keep_the_users_nodes_and_seeds(six):
    graph, _, records = six

    for record in records:
        sent = record["prompt"][2]
        for key, node in graph.items():
            taken = {**sent[key]["inputs"], "model": None}
            assert taken == {**node["inputs"], "model": None} or "model" not in node["inputs"]
        assert len(sent) == len(graph) + 4


def test_rows_hold_each_run_once(six):
    _, outcome, records = six

    for part in ("run", "KSamplerAdvanced 6", "KSamplerAdvanced 11"):
        rows = outcome.rows(part)
        assert list(rows) == ["host", "auto"]
        for row in rows.values():
            assert len(row.times) == 2 and min(row.times) > 0 and row.first > 0
            assert (row.model, row.size, row.frames) == ("my workflow", "128x128", 17)
    assert outcome.results.baseline == "host"
    assert outcome.rows("run")["host"].settings == "4step_base"
    assert outcome.rows("run")["auto"].settings == "4step_auto"
    assert outcome.rows("run")["host"].active == "sub_quad"
    assert outcome.rows("run")["auto"].active in ("flash", "math", "flash, math", "math, flash")
    stamps = dict(records[2]["status"]["messages"])
    took = stamps["execution_success"]["timestamp"] - stamps["execution_start"]["timestamp"]
    assert outcome.rows("run")["host"].times[0] == pytest.approx(took)


def test_diagnostics_of_each_run_come_along(six):
    _, outcome, _ = six

    kept = outcome.results.diagnostics
    assert len(kept) == 6 * 2
    assert {(entry["backend"], entry["run"]) for entry in kept} == {
        (backend, run) for backend in ("host", "auto") for run in range(3)
    }
    for entry in kept:
        assert entry["payload"]["state"] == "finished"
        assert entry["payload"]["calls"] == 8
        assert entry["payload"]["model"]["wan"]


def test_the_environment_is_the_servers(six, server):
    _, outcome, _ = six

    system = server.get("/system_stats")["system"]
    known = outcome.results.environment
    assert known["comfyui"] == system["comfyui_version"]
    assert known["torch"] == system["pytorch_version"]
    assert known["host_attention"] == "sub_quad"
    assert known["started"] == "now"


def test_the_gpu_is_the_one_that_the_server_uses(server, tmp_path, monkeypatch):
    """Torch, whom the diagnostics ask, counts no GPU of Apple."""
    get, device = connection.Server.get, {"name": "mps", "type": "mps", "vram_total": 2**34}

    async def told(self, path):
        answer = await get(self, path)
        return {**answer, "devices": [device]} if path == "system_stats" else answer

    monkeypatch.setattr(connection.Server, "get", told)
    path = saved(tmp_path, single(None, "device"))
    known = bench(server.address, path, *SMALL, "--backends", "host").results.environment

    assert (known["gpu"], known["memory_gib"]) == ("mps", 16.0)
    assert known["host_attention"] == "sub_quad"


def test_another_workflow_of_the_same_name_is_noticed(server, tmp_path):
    def measured(**sampling):
        path = saved(tmp_path, single(None, "changed", **sampling), "flow.json")
        results = bench(server.address, path, "--backends", "host", repeat=1).results
        results.finished = True  # which the command says
        return results

    two, again, four = measured(), measured(seed=8), measured(steps=4)
    before, after = (results.environment["workflow"] for results in (two, four))

    assert re.fullmatch(r"flow \([0-9a-f]{8}\)", before)
    assert verdicts(two, again).warnings == ()
    assert verdicts(two, four).warnings == (f"workflow: {before} then, {after} now",)


def test_progress_ends_where_it_said(six):
    _, outcome, _ = six

    assert outcome.told.done == pytest.approx(outcome.told.total)
    assert any("auto 17f 3/3 step 2/2" in line for line in outcome.told.lines)
    assert 0 < min(outcome.told.units) < 1  # a run of minutes moves the bar with each step
    assert len(outcome.told.units) == 6 * 4  # in the first run too


def test_nothing_is_left_on_the_server(six, server):
    assert server.get("/queue") == {"queue_running": [], "queue_pending": []}


def test_the_workflows_own_nodes_are_switched(server, tmp_path):
    graph = experts("flash", "own")
    before = server.get("/history")
    outcome = bench(server.address, saved(tmp_path, graph), "--backends", "math,host")
    records = history(server, before)

    assert outcome.error is None
    assert outcome.results.baseline == "host"
    assert [*map(backends, records)] == [
        {name} for name in ("math", "host", "math", "host", "host", "math")
    ]
    assert {len(record["prompt"][2]) for record in records} == {len(graph)}
    assert {row.active for row in outcome.rows("run").values()} == {"math", "sub_quad"}
    assert {entry["node"] for entry in outcome.results.diagnostics} == {
        graph.node("WanAttnDiagnostics", position) for position in (0, 1)
    }


def test_frames_and_size_are_set(server, tmp_path):
    before = server.get("/history")
    path = saved(tmp_path, single(None, "sized"))
    outcome = bench(
        server.address, path, "--frames", "5,9", "--size", "64x96", "--backends", "host,flash"
    )
    records = history(server, before)

    assert outcome.error is None
    assert len(records) == 12
    latents = next(iter(nodes(records[0], "EmptyHunyuanLatentVideo").values()))["inputs"]
    assert (latents["width"], latents["height"], latents["length"]) == (64, 96, 5)
    runs = [row for row in outcome.results.rows if row.part == "run"]
    assert [(row.size, row.frames, row.backend) for row in runs] == [
        ("64x96", frames, backend) for frames in (5, 9) for backend in ("host", "flash")
    ]


def test_a_seed_is_set_where_one_is_given(server, tmp_path):
    before = server.get("/history")
    bench(server.address, saved(tmp_path, single(None, "seeds")), "--backends", "host", seed=42)

    samplers = [nodes(record, "KSamplerAdvanced") for record in history(server, before)]
    assert len(samplers) == 3
    assert {node["inputs"]["noise_seed"] for found in samplers for node in found.values()} == {42}


def test_a_cache_that_was_emptied_once_is_no_server_without_one(server, tmp_path):
    before = server.get("/history")
    free = when("host 5f 2/3", lambda: server.post("/free", {"free_memory": True}))
    path = saved(tmp_path, single(None, "freed"))
    outcome = bench(server.address, path, *SMALL, "--backends", "host", told=free)

    assert outcome.error is None
    found = [bool(cached(record)) for record in history(server, before)]
    assert sorted(found[1:]) == [False, True]
    assert not any("--cache-none" in note for note in outcome.results.notes)


def test_a_guider_is_measured_too(server, tmp_path):
    graph = Graph()
    model, words = graph.load("high_noise"), graph.add("TestConditioning", seed=1)
    inputs = {
        "noise": graph.add("RandomNoise", noise_seed=1),
        "guider": graph.add("BasicGuider", model=model, conditioning=words),
        "sampler": graph.add("KSamplerSelect", sampler_name="euler"),
        "sigmas": graph.add(
            "BasicScheduler", model=model, scheduler="simple", steps=2, denoise=1.0
        ),
        "latent_image": graph.latent(),
    }
    graph.save(graph.add("SamplerCustomAdvanced", **inputs), "guided/latent")
    outcome = bench(server.address, saved(tmp_path, graph), "--backends", "host,math")

    assert outcome.error is None
    part = f"SamplerCustomAdvanced {graph.node('SamplerCustomAdvanced')}"
    assert {name: row.active for name, row in outcome.rows(part).items()} == {
        "host": "sub_quad",
        "math": "math",
    }


def test_the_command_writes_what_it_measured(server, tmp_path, capsys, monkeypatch):
    """Also where the host's Python has the pack as a folder only, without its entry point."""
    monkeypatch.setitem(command.BENCHMARKS, "workflow", ("", lambda: BENCHMARK))
    path, output = saved(tmp_path, single(None, "command")), tmp_path / "results"
    arguments = ["workflow", f"http://{server.address}/", "--workflow", str(path)]
    for suffix in (".csv", ".json"):
        arguments += ["--output", str(output.with_suffix(suffix))]

    assert command.main(arguments) == 0
    with output.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert {line["backend"] for line in lines} == {"host", "auto"}
    assert {"run", "KSamplerAdvanced 5"} <= {line["part"] for line in lines}
    stored = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(stored["diagnostics"]) == 6
    assert "auto" in capsys.readouterr().out
