"""Our templates and the blueprint: offered by the page, loaded there, and run there on tiny checkpoints under the official names."""

import json

import pytest
from wanattn.tests.host.hosts import version_of
from wanattn.tests.host.panel_page import screenshot
from wanattn.tools.blueprint import WATCHED_MODEL
from wanattn.tools.make_workflows import TEMPLATES

KINDS = {"t2v": "t2v", "i2v": "i2v", "ti2v_5B": "ti2v_5b"}
OLD = {"0.8.0": {"wan2.2_14B_t2v_32fps_attention"}}  # its host cannot make frames between frames
OPEN = "async graph => { await window.app.loadGraphData(graph); }"
PROMPT = "async () => (await window.app.graphToPrompt()).output"
MISSING = "() => window.app.graph.nodes.filter(node => !window.LiteGraph.registered_node_types[node.type]).map(node => node.type)"
SMALL = {"width": 128, "height": 128, "length": 17}
STANDINS = {
    "CLIPTextEncode": "TestConditioning",
    "VAELoader": "TestVAE",
    "VAEDecode": "TestPixels",
}


@pytest.fixture(scope="module")
def checkpoints(server):
    """Every model file that a template names, as a tiny model of its kind."""
    from wanattn.tests.host import tiny

    folder = server.base / "models" / "diffusion_models"
    for task, kind in KINDS.items():
        for noise in ("high_noise_14B_fp8_scaled", "low_noise_14B_fp8_scaled"):
            if task != "ti2v_5B":
                tiny.save_wan(folder, kind, 1, f"wan2.2_{task}_{noise}")
    tiny.save_wan(folder, KINDS["ti2v_5B"], 1, "wan2.2_ti2v_5B_fp16")


def template(server, name: str) -> dict:
    if "wrapper" in name:
        pytest.skip("needs WanVideoWrapper; test_wrapper_server.py runs it")
    if name in OLD.get(version_of(server.host), ()):
        pytest.skip(f"ComfyUI {version_of(server.host)} has no frame interpolation")
    return server.get(f"/api/workflow_templates/wanattn/{name}.json")


def runnable(prompt: dict) -> dict:
    """The prompt of a template without what needs the large files: text encoder, VAE, LoRA and frames between frames."""
    links = {}
    for key, node in list(prompt.items()):
        kind, inputs = node["class_type"], node["inputs"]
        inputs.update({name: value for name, value in SMALL.items() if name in inputs})
        inputs.update({"steps": 4} if "steps" in inputs else {})
        for name in ("start_at_step", "end_at_step"):
            if name in inputs:
                inputs[name] = {0: 0, 10: 2, 20: 4}.get(inputs[name], inputs[name])
        if kind in STANDINS:
            kept = {"samples": inputs["samples"]} if kind == "VAEDecode" else {}
            seed = {"seed": int(key)} if kind == "CLIPTextEncode" else {}
            prompt[key] = {"class_type": STANDINS[kind], "inputs": {**kept, **seed}}
        if kind in ("LoraLoaderModelOnly", "FrameInterpolate"):
            links[key] = inputs["model" if "model" in inputs else "images"]
        if kind in ("CLIPLoader", "LoraLoaderModelOnly", "FrameInterpolate", "LoadImage"):
            del prompt[key]
        if kind == "FrameInterpolationModelLoader":
            del prompt[key]
        inputs.pop("start_image", None)
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in links:
                node["inputs"][name] = links[value[0]]
    return prompt


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_template_loads_in_the_page_and_runs(server, open_page, checkpoints, name):
    page = open_page()
    page.evaluate(OPEN, template(server, name))

    assert page.evaluate(MISSING) == []
    outputs = server.run(runnable(page.evaluate(PROMPT)))
    texts = [output["text"][0] for output in outputs.values() if "wanattn" in output]
    assert len(texts) == 2 if "14B" in name or "compare" in name else 1
    assert all("asked" in text or "host" in text for text in texts)


def test_the_browser_offers_them_under_our_name(server, open_page):
    page = open_page()
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("Wan Attention", exact=True).first.wait_for()
    page.get_by_text("Wan Attention", exact=True).first.click()
    page.get_by_text("wan2.2_5B_compare_attention").first.wait_for()
    screenshot(server, page, "templates")


def test_the_blueprint_is_a_node_between_model_and_sampler(server, open_page):
    offered = server.get("/global_subgraphs")
    (entry,) = [key for key, each in offered.items() if each["name"] == WATCHED_MODEL]
    data = json.loads(server.get(f"/global_subgraphs/{entry}")["data"])
    page = open_page()
    page.evaluate(OPEN, data)
    (node,) = page.evaluate(
        "() => window.app.graph.nodes.map(node => [node.inputs.map(slot => slot.name), node.outputs.map(slot => slot.type), node.widgets.map(widget => widget.name)])"
    )

    assert node[0][0] == "model"
    assert node[1] == ["MODEL"]
    assert "backend" in node[2]
    types = page.evaluate("() => window.app.graph.nodes[0].subgraph.nodes.map(node => node.type)")
    assert types == ["WanAttnBackend", "WanAttnDiagnostics"]
