"""One command wires every Wan model: on each official template, in the page, and back in one step."""

import json
from importlib import util
from pathlib import Path

import pytest
from wanattn.tests.host.panel_page import DESIGNS, screenshot, until

PACKAGE = "comfyui_workflow_templates_json"
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "CFGGuider", "BasicGuider")
OPEN = "async graph => { await window.app.loadGraphData(graph); }"
PROMPT = """async () => {
    const { output } = await window.app.graphToPrompt();
    for (const { inputs } of Object.values(output)) delete inputs.previewMode; // 0.8.0's own page forgets it at every load
    return output;
}"""
COMMAND = "name => window.app.extensionManager.command.execute(`wanattn.${name}`)"
UNDO = "() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.undo()"
REDO = "() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.redo()"
TYPE = """() => {
    const insides = window.app.graph.nodes.filter(node => node.subgraph);
    for (const [index, node] of insides.entries()) {
        for (const widget of node.widgets) {
            if (/text$/.test(widget.name)) widget.value = "my own words";
            if (/width$/.test(widget.name)) widget.value = 832;
            if (/unet_name_1$/.test(widget.name)) widget.value = `mine_${index}_wan_low_noise.safetensors`;
        }
    }
    return insides.length;
}"""
IN_SUBGRAPH = "window.app.canvas.graph !== window.app.rootGraph"


def templates() -> list[Path]:
    """The official workflows with a Wan model that runs here; newer hosts only bring them as a package."""
    found = util.find_spec(PACKAGE)
    folder = Path(found.origin).parent / "templates" if found and found.origin else None
    files = sorted(folder.glob("*wan*.json")) if folder else []
    return [path for path in files if not path.name.startswith("api_") and samplers_in(path)]


def samplers_in(path: Path) -> bool:
    return '"UNETLoader"' in path.read_text(encoding="utf-8")


def sampled(prompt: dict) -> dict[str, dict]:
    return {key: node for key, node in prompt.items() if node["class_type"] in SAMPLERS}


def before_sampler(prompt: dict, node: dict) -> list[str]:
    """The types on the way of a sampler's model, nearest first."""
    types = []
    while isinstance(link := node["inputs"].get("model"), list):
        node = prompt[link[0]]
        types.append(node["class_type"])
    return types


def wan_samplers(prompt: dict) -> list[dict]:
    return [node for node in sampled(prompt).values() if before_sampler(prompt, node)]


@pytest.fixture
def official():
    if not (files := templates()):
        pytest.skip(f"{PACKAGE} is not installed")
    return files


def test_every_official_template_is_wired_and_unwired_by_one_command(open_page, official):
    page = open_page()
    for path in official:
        page.evaluate(OPEN, json.loads(path.read_text(encoding="utf-8")))
        before = page.evaluate(PROMPT)
        page.evaluate(COMMAND, "addAll")
        wired = page.evaluate(PROMPT)
        samplers = wan_samplers(wired)
        assert samplers, path.name
        for node in samplers:
            chain = before_sampler(wired, node)
            assert chain[:2] == ["WanAttnDiagnostics", "WanAttnBackend"], (path.name, chain)
            assert chain.count("WanAttnBackend") == 1, path.name
        assert sum(node["class_type"] == "WanAttnReport" for node in wired.values()), path.name
        page.evaluate(UNDO)
        assert page.evaluate(PROMPT) == before, path.name
        page.evaluate(COMMAND, "add")
        assert all(
            before_sampler(prompt, node)[0] == "WanAttnBackend"
            for prompt in [page.evaluate(PROMPT)]
            for node in wan_samplers(prompt)
        ), path.name
        page.evaluate(COMMAND, "remove")
        assert page.evaluate(PROMPT) == before, path.name


def twice(graph: dict) -> dict:
    """A workflow with a second node of its subgraph, unconnected."""
    insides = {inside["id"] for inside in graph["definitions"]["subgraphs"]}
    node = json.loads(json.dumps(next(node for node in graph["nodes"] if node["type"] in insides)))
    node.update(id=graph["last_node_id"] + 1, pos=[0, 3000])
    for slot in node["inputs"]:
        slot["link"] = None
    for slot in node["outputs"]:
        slot["links"] = []
    return {**graph, "nodes": [*graph["nodes"], node], "last_node_id": node["id"]}


def literals(prompt: dict) -> dict[str, dict]:
    """What each node of others gets from its own fields."""
    return {
        key: {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
        for key, node in prompt.items()
        if not (node["class_type"] or "").startswith("WanAttn")
    }


def test_nothing_typed_into_a_subgraph_is_lost(open_page, official):
    """The page of ComfyUI 0.8.0 itself puts a file's name in place of the prompt whenever it loads such a workflow."""
    page = open_page()
    template = next(path for path in official if path.stem == "video_wan2_2_14B_t2v")
    page.evaluate(OPEN, twice(json.loads(template.read_text(encoding="utf-8"))))
    assert page.evaluate(TYPE) == 2
    typed = literals(page.evaluate(PROMPT))
    shown = [value for inputs in typed.values() for value in inputs.values()]
    mine = [f"mine_{index}_wan_low_noise.safetensors" for index in range(2)]
    assert {"my own words", 832, *mine} <= {*shown}
    steps = [(COMMAND, "addAll"), (UNDO,), (REDO,), (COMMAND, "remove"), (UNDO,), (REDO,)]
    for step in steps:
        page.evaluate(*step)
        assert literals(page.evaluate(PROMPT)) == typed, step


@pytest.mark.parametrize("design", list(DESIGNS))
def test_the_key_wires_inside_the_open_subgraph_and_undo_takes_it_back(
    server, open_page, official, design
):
    page = open_page(design)
    template = next(path for path in official if path.stem == "video_wan2_2_14B_t2v")
    page.evaluate(OPEN, json.loads(template.read_text(encoding="utf-8")))
    page.evaluate("""() => {
        const inside = window.app.graph.nodes.find(node => node.subgraph);
        window.app.canvas.openSubgraph(inside.subgraph, inside);
    }""")
    before = page.evaluate(PROMPT)
    page.mouse.move(800, 500)
    six = (
        "window.app.canvas.graph.nodes.filter(node => node.type.startsWith('WanAttn')).length === 6"
    )
    until(page, lambda: page.keyboard.press("Shift+W"), six)
    page.evaluate("window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    screenshot(server, page, f"wired_{design}")

    assert page.evaluate(IN_SUBGRAPH)
    page.keyboard.press("Control+z")
    page.wait_for_function(
        "!window.app.canvas.graph.nodes.some(node => node.type.startsWith('WanAttn'))"
    )
    assert page.evaluate(PROMPT) == before
    assert page.evaluate(IN_SUBGRAPH)


def test_menus_of_page_canvas_and_node_have_the_commands(open_page, official):
    page = open_page()
    template = next(path for path in official if path.stem == "video_wan2_2_5B_ti2v")
    page.evaluate(OPEN, json.loads(template.read_text(encoding="utf-8")))
    canvas, node, menu = page.evaluate("""() => {
        const { app } = window;
        const texts = items => items.filter(Boolean).map(item => item.content ?? "");
        const loader = app.graph.nodes.find(node => node.type === "UNETLoader");
        const has = id => app.extensionManager.command.commands.find(command => command.id === id)?.label ?? "";
        return [
            texts(app.collectCanvasMenuItems?.(app.canvas) ?? app.canvas.getCanvasMenuOptions()),
            texts(app.collectNodeMenuItems?.(loader) ?? app.canvas.getNodeMenuOptions(loader)),
            ["wanattn.add", "wanattn.addAll", "wanattn.remove"].map(has),
        ];
    }""")

    assert [text for text in canvas if "Wan Attention" in text] == menu
    assert all("Wan Attention" in text for text in menu)
    assert [text for text in node if "Wan Attention" in text] == ["Add Wan Attention to this model"]
