"""What a node tells of a run before and after it: its model's file, its video, the calls to come, and the gain."""

import json

import pytest
import torch
from wanattn.tests.host.sampling import CALLS, sample

FILE = "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"


def prompt(**latent):
    """A loader in a folder, a LoRA, Attention Backend, Diagnostics, a sampler and a latent whose width is wired."""
    sizes = {"width": ["w", 0], "height": 128, "length": 17, "batch_size": 1, **latent}
    return {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": f"wan/{FILE}"}},
        "2": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"model": ["1", 0], "lora_name": "lightx2v.safetensors"},
        },
        "10": {"class_type": "WanAttnBackend", "inputs": {"model": ["2", 0]}},
        "20": {"class_type": "WanAttnDiagnostics", "inputs": {"model": ["10", 0]}},
        "5": {
            "class_type": "KSampler",
            "inputs": {"model": ["20", 0], "latent_image": ["6", 0], "seed": 1},
        },
        "6": {"class_type": "EmptyHunyuanLatentVideo", "inputs": sizes},
        "w": {"class_type": "PrimitiveInt", "inputs": {"value": 192}},
    }


def test_file_expert_and_size_come_from_the_prompt(comfy):
    from wanattn.nodes.host.expected.wired import expert_of, file_of, size_of

    for node in ("10", "20"):
        assert file_of(prompt(), node) == FILE
        assert size_of(prompt(), node) == (192, 128, 17)
    assert expert_of(FILE) == "low noise"
    assert expert_of("wan2.2_ti2v_5B_fp16.safetensors") == ""


@pytest.mark.parametrize("given", [None, {}, {"10": {}}, {"10": {"inputs": {"model": ["x", 0]}}}])
def test_a_prompt_that_tells_nothing_gives_nothing(comfy, given):
    from wanattn.nodes.host.expected.outlook import Wired

    assert Wired.of(given, "10") == Wired("", None)


@pytest.mark.parametrize("given", [[1], {"10": None}, {"10": {"inputs": [1]}}])
def test_a_broken_prompt_costs_only_the_forecast(comfy, given):
    from wanattn.nodes.host.expected.outlook import Wired

    assert Wired.of(given, "10") == Wired("", None)


def test_a_loop_in_the_prompt_ends(comfy):
    from wanattn.nodes.host.expected.wired import file_of, size_of

    loop = {"10": {"inputs": {"model": ["2", 0]}}, "2": {"inputs": {"model": ["10", 0]}}}
    assert (file_of(loop, "10"), size_of(loop, "10")) == ("", None)


@pytest.fixture
def shown(monkeypatch):
    """What the nodes send to the page."""
    from server import PromptServer

    class Page:
        def __init__(self):
            self.sent = []
            self.prompt_queue = self

        def get_current_queue(self):
            return [], []

        def send_progress_text(self, *_):
            pass

        def send_sync(self, event, payload):
            self.sent.append(json.loads(json.dumps(payload)))

    page = Page()
    monkeypatch.setattr(PromptServer, "instance", page, raising=False)
    return page.sent


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("t2v", ["self", "text"]),
        ("i2v", ["self", "text"]),
        ("i2v_tokens", ["self", "text", "image"]),
    ],
)
def test_the_forecast_holds(load, workbench, shown, kind, roles):
    """Each kind of call that was told is made, with the lengths that were told, on the backend that was told."""
    model = workbench.diagnostics(workbench.backend(load(kind), "math"))
    sample(model)
    payload = workbench.report(model).payload
    told = [
        (each["role"], each["q_len"], each["kv_len"], each["active"])
        for each in payload["forecast"]
    ]
    made = {(row["role"], row["q_len"], row["kv_len"], row["active"]) for row in payload["rows"]}

    assert [role for role, *_ in told] == roles
    assert made <= set(told)
    starting = [each for each in shown if each["state"] == "running" and not each["calls"]]
    assert starting[0]["forecast"] == payload["forecast"]
    assert payload["video"] == {"width": 128, "height": 128, "frames": 17}


def test_a_node_tells_the_forecast_as_soon_as_it_has_the_model(load, workbench, shown):
    workbench.prompt = prompt()
    workbench.diagnostics(workbench.backend(load("t2v"), "cudnn"))
    backend, panel = shown

    assert (backend["node"], panel["node"]) == ("10", "20")
    for payload in shown:
        assert payload["state"] == "idle"
        assert payload["model"]["file"] == FILE
        assert payload["model"]["expert"] == "low noise"
        first = payload["forecast"][0]
        assert (first["role"], first["heads"], first["q_len"]) == ("self", 2, 5 * 8 * 12)
        assert (first["active"], first["reason"]) == ("flash", "cuDNN does not exist on cpu")
        assert first["math_gib"] == pytest.approx(2 * 480**2 * 4 / 2**30, rel=1e-3)


def test_what_a_rule_leaves_to_the_host_is_foretold_by_the_name_of_its_function(
    load, workbench, shown
):
    workbench.prompt = prompt()
    rule = {"role": "self", "blocks": "", "steps": "", "backend": "host"}
    rules = workbench.run("WanAttnRule", "9", **rule)[0]
    inputs = {"model": load("t2v"), "backend": "flash", "on_refusal": "next best", "rules": rules}
    workbench.run("WanAttnBackend", "10", **inputs)

    (payload,) = shown
    told = [each["active"] for each in payload["forecast"]]
    assert told == ["pytorch", "flash"]


def test_rules_and_models_that_add_tokens_are_left_open(load, workbench, shown, unet):
    rule = workbench.run("WanAttnRule", "9", role="self", blocks="0", steps="", backend="math")[0]
    model = workbench.run(
        "WanAttnBackend",
        "10",
        model=load("t2v"),
        backend="flash",
        on_refusal="next best",
        rules=rule,
    )[0]
    sample(model)
    told = workbench.report(model).payload["forecast"]

    assert [each["active"] for each in told] == ["", "flash"]
    assert "rules" in told[0]["reason"]
    other = workbench.backend(unet, "flash")
    sample(other)
    assert not {"forecast", "video"} & set(workbench.report(other).payload)


def test_the_date_is_that_of_the_end(load, workbench, shown):
    model = workbench.diagnostics(load("t2v"))
    sample(model)

    assert {bool(each.get("date")) for each in shown if each["state"] == "running"} == {False}
    assert shown[-1]["state"] == "finished"
    assert workbench.report(model).payload["date"] == shown[-1]["date"]


@pytest.fixture
def slow_default(monkeypatch):
    """ComfyUI's default takes ten milliseconds longer here, so that a gain is there to be told."""
    import time

    from wanattn.nodes.host import functions

    plain, seen = functions.optimized_attention, []

    def slow(q, *rest, **named):
        seen.append(q.shape)
        time.sleep(0.05)  # seconds: far above what a call takes on a busy machine
        return plain(q, *rest, **named)

    monkeypatch.setattr(functions, "optimized_attention", slow)
    return seen


@pytest.mark.parametrize("first", ["backend", "diagnostics"])
def test_the_gain_is_told_wherever_the_panel_stands(load, workbench, slow_default, first):
    model = load("t2v")
    order = [lambda each: workbench.backend(each, "flash"), workbench.diagnostics]
    for node in order if first == "backend" else reversed(order):
        model = node(model)
    sample(model, steps=3)
    report = workbench.report(model)
    gain = report.payload["gain"]
    rows = report.payload["rows"]
    ours = sum(row["milliseconds"] * row["calls"] for row in rows)

    assert len(slow_default) == 12  # six for self and for text, whatever the steps and blocks
    assert gain["attention"] > 2
    assert gain["attention"] == pytest.approx((ours + 50 * report.payload["calls"]) / ours, rel=0.5)
    assert 1 < gain["run"] < gain["attention"]
    assert "as fast as ComfyUI's default, timed beside it" in report.text


def test_no_gain_is_told_where_nothing_was_chosen(load, workbench, slow_default):
    for node in (workbench.diagnostics, lambda each: workbench.backend(each, "host")):
        model = node(load("t2v"))
        sample(model)
        assert "gain" not in workbench.report(model).payload
    assert slow_default == []


def test_timing_beside_leaves_the_video_and_the_account_as_they_are(load, workbench, slow_default):
    plain = sample(load("t2v"))
    model = workbench.backend(load("t2v"), "flash")

    torch.testing.assert_close(sample(model), plain, rtol=1e-4, atol=1e-4)
    assert workbench.report(model).payload["account"]["calls"] == CALLS
    assert slow_default
