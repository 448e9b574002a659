"""The pack in a running ComfyUI: it loads, its nodes have the promised faces, both experts run."""

import urllib.request
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from wanattn.tests.host.graph import Graph, experts, single
from wanattn.tests.host.listener import Listener
from wanattn.tests.host.workbench import read_report

COLUMNS = (
    "run,step,block,role,cond,batch,heads,q_len,kv_len,head_dim,dtype,mask,"
    "requested,active,evidence,reason,ms,via,device"
)
FACES = {
    "WanAttnBackend": ("Attention Backend", ["model", "backend", "on_refusal"], ["MODEL"]),
    "WanAttnRule": (
        "Attention Backend Rule",
        ["role", "blocks", "steps", "backend"],
        ["WANATTN_RULES"],
    ),
    "WanAttnSchedule": (
        "Attention Schedule",
        ["first", "last", "approximate", "exact"],
        ["WANATTN_RULES"],
    ),
    "WanAttnDiagnostics": ("Attention Diagnostics", ["model"], ["MODEL"]),
    "WanAttnReport": (
        "Attention Run Report",
        ["model", "after", "filename_prefix"],
        ["COMFY_MATCHTYPE_V3", "STRING", "IMAGE"],
    ),
    "WanAttnBenchmark": (
        "Attention Benchmark",
        ["model", "width", "height", "frames", "backends", "repeat", "measure_again"],
        ["STRING", "IMAGE"],
    ),
}
OUTPUT_NODES = ("WanAttnReport", "WanAttnBenchmark")


@pytest.fixture(scope="module")
def run(server):
    """The graph of both experts, run once; what it showed, said and wrote."""
    graph = experts()
    with Listener(server.address, "tests") as listener:
        outputs = server.run(graph, listener)
    reports = {
        name: read_report(server.output, f"experts/{name}") for name in ("high_noise", "low_noise")
    }
    return SimpleNamespace(graph=graph, outputs=outputs, listener=listener, **reports)


def latent_of(server, prefix):
    return load_file(server.files(f"{prefix}/latent", ".latent")[-1])["latent_tensor"]


def test_log_shows_no_failed_import(server):
    assert "custom_nodes/wanattn" in server.log().replace("\\", "/")
    assert server.failed_imports() == []


@pytest.mark.parametrize("node_id", list(FACES))
def test_schema_is_as_promised(server, node_id):
    info = server.get(f"/object_info/{node_id}")[node_id]

    display, inputs, outputs = FACES[node_id]
    assert info["display_name"] == display
    assert info["category"] == "model/attention"
    assert info["python_module"] == "custom_nodes.wanattn"
    assert info["input_order"]["required"] == inputs
    assert info["output"] == outputs
    assert info["output_node"] == (node_id in OUTPUT_NODES)
    assert info["description"]


def test_backend_offers_the_promised_choices(server):
    inputs = server.get("/object_info/WanAttnBackend")["WanAttnBackend"]["input"]["required"]

    offered = {name: inputs[name][1]["options"] for name in ("backend", "on_refusal")}
    promised = {"auto", "flash", "efficient", "cudnn", "math", "host"}
    assert promised <= set(offered["backend"])
    assert offered["on_refusal"] == ["next best", "stop"]


@pytest.mark.parametrize("node_id", list(FACES))
def test_every_node_has_a_help_page(server, node_id):
    url = f"http://{server.address}/extensions/wanattn/docs/{node_id}.md"

    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read().startswith(b"#")


def test_page_script_is_offered(server):
    assert "/extensions/wanattn/main.js" in server.get("/extensions")


def test_both_experts_report_every_call(run):
    for expert in ("high_noise", "low_noise"):
        report = getattr(run, expert)
        assert report.payload["schema"] == 1
        assert report.payload["state"] == "finished"
        assert report.payload["requested"] == "flash"
        assert report.payload["totals"] == {"flash": 8}
        assert report.payload["calls"] == len(report.lines) == 8
        assert report.payload["model"] == {
            "class": "WAN21",
            "wan": True,
            "file": f"{expert}.safetensors",
            "expert": expert.replace("_", " "),
        }
        assert report.counts("role") == {("self",): 4, ("text",): 4}
        assert {line["evidence"] for line in report.lines} == {"forced", "profiled"}


def test_csv_has_the_promised_columns(run):
    assert ",".join(run.high_noise.lines[0]) == COLUMNS
    assert run.high_noise.counts("step", "block", "role") == {
        (step, block, role): 1 for step in "01" for block in "01" for role in ("self", "text")
    }
    first = run.high_noise.lines[0]
    assert (first["heads"], first["head_dim"], first["dtype"]) == ("2", "128", "float32")
    assert (first["q_len"], first["kv_len"], first["mask"]) == ("320", "320", "none")
    assert sorted(first["cond"].split("+")) == ["negative", "positive"]


def test_json_has_the_promised_keys(run):
    payload = run.high_noise.payload

    promised = {"schema", "environment", "requested", "totals", "rows", "coverage"}
    assert promised <= set(payload)
    assert payload["environment"]["comfyui"]
    assert payload["environment"]["host_attention"] == "sub_quad"
    assert any("VAE" in sentence for sentence in payload["coverage"])
    for row in payload["rows"]:
        assert {"calls", "milliseconds", "evidence", "reasons"} <= set(row)


def test_milliseconds_add_up_to_less_than_the_run(run):
    payload = run.high_noise.payload

    total = sum(row["milliseconds_total"] for row in payload["rows"])
    assert 0 < total < 1000 * payload["runs"][0]["seconds"]
    assert all(float(line["ms"]) > 0 for line in run.high_noise.lines)


def test_history_shows_the_report(run):
    for position in (0, 1):
        (text,) = run.outputs[run.graph.node("WanAttnReport", position)]["text"]

        assert "flash" in text and "8 calls" in text


@pytest.mark.parametrize("node", ["WanAttnBackend", "WanAttnDiagnostics"])
def test_status_reaches_the_node_while_sampling(run, node):
    for position in (0, 1):
        texts = run.listener.texts_on(run.graph.node(node, position))

        assert any("flash 8/8 calls" in text for text in texts), texts


@pytest.mark.parametrize("backend", ["flash", "math", "auto"])
def test_experts_give_the_unpatched_video(server, backend):
    server.run(experts(None, "plain"))
    server.run(experts(backend, f"same_{backend}"))

    patched, plain = latent_of(server, f"same_{backend}"), latent_of(server, "plain")
    torch.testing.assert_close(patched, plain, rtol=1e-4, atol=1e-4)


def test_removing_the_node_gives_the_same_bits_as_never_having_it(server):
    server.run(single(None, "never"))
    server.run(single("math", "patched"))
    server.run(single(None, "removed"))

    assert torch.equal(latent_of(server, "removed"), latent_of(server, "never"))


def test_host_and_diagnostics_give_the_same_bits(server):
    graph = Graph()
    watched = graph.diagnostics(graph.backend(graph.load("high_noise"), "host"))
    graph.save(graph.sample(watched, graph.latent()), "watched/latent")
    server.run(graph)
    server.run(single(None, "unwatched"))

    assert torch.equal(latent_of(server, "watched"), latent_of(server, "unwatched"))


def test_second_model_in_the_graph_stays_untouched(server):
    graph = Graph()
    patched = graph.backend(graph.load("high_noise"), "math")
    first = graph.report(patched, graph.sample(patched, graph.latent()), "two/report")
    graph.save(first, "two/first")
    same_weights = graph.sample(graph.load("high_noise"), graph.latent())
    graph.save(same_weights, "two/latent")
    server.run(graph)
    server.run(single(None, "one"))

    assert torch.equal(latent_of(server, "two"), latent_of(server, "one"))
    assert read_report(server.output, "two/report").payload["totals"] == {"math": 8}


@pytest.mark.parametrize("backend", ["host", "flash"])
def test_override_of_another_pack_gets_its_turn_or_is_named(server, backend):
    graph = Graph()
    other = graph.add("TestOverride", model=graph.load("high_noise"))
    patched = graph.backend(other, backend)
    graph.report(patched, graph.sample(patched, graph.latent()), f"other_{backend}/report")
    for name, model in (("ours", patched), ("theirs", other)):
        graph.save(graph.sample(model, graph.latent()), f"other_{backend}/{name}/latent")
    server.run(graph)

    latents = [latent_of(server, f"other_{backend}/{name}") for name in ("ours", "theirs")]
    assert torch.equal(*latents) == (backend == "host")
    payload = read_report(server.output, f"other_{backend}/report").payload
    told = [*payload["totals"], *payload["notes"]]
    assert any("halved_attention" in text for text in told), told


@pytest.mark.parametrize("place", ["before", "after"])
def test_diagnostics_works_on_either_side_of_backend(server, place):
    graph, model = Graph(), ["1", 0]
    graph.load("high_noise")
    if place == "before":
        model = graph.backend(graph.diagnostics(model), "math")
    else:
        model = graph.diagnostics(graph.backend(model, "math"))
    prefix = f"side_{place}"
    graph.report(model, graph.sample(model, graph.latent()), prefix)
    with Listener(server.address, "tests") as listener:
        server.run(graph, listener)

    assert read_report(server.output, prefix).payload["totals"] == {"math": 8}
    texts = listener.texts_on(graph.node("WanAttnDiagnostics"))
    assert any("math 8/8 calls" in text for text in texts), texts


def test_unpatched_model_tells_what_the_host_ran(server):
    graph = Graph()
    model = graph.diagnostics(graph.load("high_noise"))
    graph.report(model, graph.sample(model, graph.latent()), "bare")
    server.run(graph)

    report = read_report(server.output, "bare")
    assert report.payload["totals"] == {"sub_quad": 8}
    assert report.counts("requested", "evidence") == {("host", "host"): 8}
