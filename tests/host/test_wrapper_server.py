"""Our template for WanVideoWrapper in the real page and server, with the real pack and tiny weights under the official names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from wanattn.tests.host import packs, wrapper
from wanattn.tests.host.test_page_templates import MISSING, OPEN, PROMPT
from wanattn.tests.host.test_page_wiring import COMMAND, before_sampler
from wanattn.tests.host.workbench import read_report

NAME = "wan2.2_14B_t2v_wrapper_attention"
STEPS, BOUNDARY = 4, 2
EXPERTS = {
    0: "high_noise",
    BOUNDARY: "low_noise",
}  # by their first step; each sampler counts its own from 0
SMALL = {"width": 64, "height": 64, "num_frames": 5, "steps": STEPS, "load_device": "main_device"}
QUANTIZED = "fp8_e4m3fn_scaled"  # of the official files; the tiny ones are plain


def prepared(base: Path) -> dict[str, str]:
    """Puts the pack, the wrapper and both experts into a server's folder; returns what its environment needs."""
    from wanattn.tests.host.server import install_nodes

    pack = wrapper.loaded()
    if not wrapper.modern(pack):
        pytest.skip(f"this version of {wrapper.NAME} has other inputs than the template")
    install_nodes(base)
    (base / "custom_nodes" / wrapper.NAME).symlink_to(packs.folder() / wrapper.NAME)
    counting = Path(wrapper.__file__).with_name("wrapper_nodes.py")
    (base / "custom_nodes" / counting.name).symlink_to(counting)
    models = base / "models" / "diffusion_models"
    models.mkdir(parents=True)
    for noise in ("high", "low"):
        made = wrapper.save_tiny(pack, models)
        made.rename(models / f"wan2.2_t2v_{noise}_noise_14B_fp8_scaled.safetensors")
    return {"PYTHONPATH": str(packs.folder() / ".site")}


@pytest.fixture(scope="module")
def server(comfy, tmp_path_factory):
    from wanattn.tests.host.conftest import HOST
    from wanattn.tests.host.server import Server, serving

    base = tmp_path_factory.mktemp("comfyui")
    with serving(Server(HOST, base, prepared(base))) as server:
        yield server


def runnable(prompt: dict) -> dict:
    """Without text encoder and VAE: the report of the second expert comes last."""
    for key, node in list(prompt.items()):
        kind, inputs = node["class_type"], node["inputs"]
        inputs.update({name: value for name, value in SMALL.items() if name in inputs})
        if inputs.get("quantization") == QUANTIZED:
            inputs["quantization"] = "disabled"
        for name in ("start_step", "end_step"):
            if inputs.get(name) == 10:
                inputs[name] = BOUNDARY
        if kind == "CLIPTextEncode":
            prompt[key] = {"class_type": "TestConditioning", "inputs": {"seed": int(key)}}
        if kind in (
            "CLIPLoader",
            "WanVideoVAELoader",
            "WanVideoDecode",
            "CreateVideo",
            "SaveVideo",
        ):
            del prompt[key]
    return prompt


def test_our_nodes_are_there_before_the_wrapper_is_loaded(server):
    failed = server.failed_imports()
    assert not [line for line in failed if "wanattn" in line or wrapper.NAME in line]
    known = server.get("/object_info")
    assert {"WanAttnWrapperBackend", "WanAttnWrapperDiagnostics", "WanVideoSampler"} <= set(known)
    assert known["WanAttnReport"]["input"]["required"]["model"][0] == "MODEL,WANVIDEOMODEL"


def counted(prompt: dict, run: int) -> dict:
    """With a node after each loader that counts, and one after each sampler that tells."""
    for key, node in list(prompt.items()):
        if node["class_type"] == "WanVideoSampler":
            inputs, level = node["inputs"], EXPERTS[node["inputs"]["start_step"]]
            inputs["seed"] = run
            told = {"after": [key, 0], "key": level}
            prompt[f"{key}-told"] = {"class_type": "TestWrapperCounted", "inputs": told}
            link = inputs["model"]
            while prompt[link[0]]["class_type"] != "WanVideoModelLoader":
                inputs = prompt[link[0]]["inputs"]
                link = inputs["model"]
            given = {"model": link, "key": level, "run": run}
            prompt[f"{key}-count"] = {"class_type": "TestWrapperCount", "inputs": given}
            inputs["model"] = [f"{key}-count", 0]
    return prompt


def test_the_template_loads_in_the_page_and_tells_every_call(server, open_page):
    page = open_page()
    page.evaluate(OPEN, server.get(f"/api/workflow_templates/wanattn/{NAME}.json"))
    assert page.evaluate(MISSING) == []
    server.run(runnable(page.evaluate(PROMPT)))  # measures for `auto`
    outputs = server.run(counted(runnable(page.evaluate(PROMPT)), 1))

    texts = [output["text"][0] for output in outputs.values() if "wanattn" in output]
    assert len(texts) == 2
    for level in EXPERTS.values():
        report = read_report(server.output, f"wanattn/{level}")
        rows = json.loads((server.output / f"{level}.counted.json").read_text())
        ran = Counter({tuple(row): calls for *row, calls in rows})
        assert report.counts("step", "block", "role", "active") == ran
        assert sum(ran.values()) == 2 * BOUNDARY * wrapper.CALLS
        assert report.payload["state"] == "finished"
        assert {line["requested"] for line in report.lines} == {"auto"}


def test_one_command_wires_both_experts_and_takes_it_back(server, open_page):
    page = open_page()
    page.evaluate(OPEN, server.get(f"/api/workflow_templates/wanattn/{NAME}.json"))
    page.evaluate(COMMAND, "remove")
    bare = page.evaluate(PROMPT)
    assert not [node for node in bare.values() if node["class_type"].startswith("WanAttn")]
    page.evaluate(COMMAND, "addAll")
    wired = page.evaluate(PROMPT)
    samplers = [key for key, node in wired.items() if node["class_type"] == "WanVideoSampler"]
    for key in samplers:
        assert before_sampler(wired, wired[key]) == [
            "WanAttnWrapperDiagnostics",
            "WanAttnWrapperBackend",
            "WanVideoModelLoader",
        ]
    reports = [node["inputs"] for node in wired.values() if node["class_type"] == "WanAttnReport"]
    assert sorted(report["after"] for report in reports) == sorted([key, 0] for key in samplers)
    assert {wired[report["model"][0]]["class_type"] for report in reports} == {
        "WanAttnWrapperDiagnostics"
    }
    page.evaluate(COMMAND, "remove")
    assert page.evaluate(PROMPT) == bare
