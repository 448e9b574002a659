"""The official Wan 2.2 workflows, exported by the host's own page, as `wanattn bench workflow` takes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wanattn.commands.bench.workflow import prompt
from wanattn.commands.bench.workflow.catalogue import Catalogue
from wanattn.commands.bench.workflow.refusal import missing_outputs
from wanattn.commands.bench.workflow.wiring import wire
from wanattn.tests.host import panel_page

EXPERTS = {"video_wan2_2_14B_t2v": 2, "video_wan2_2_14B_i2v": 2, "video_wan2_2_5B_ti2v": 1}
EXPORT = """async graph => {
    await window.app.loadGraphData(graph);
    return (await window.app.graphToPrompt()).output;
}"""


@pytest.fixture(scope="module")
def export(server, browser, tmp_path_factory):
    package = pytest.importorskip("comfyui_workflow_templates_json", reason="no official templates")
    page = browser.new_page()
    page.goto(f"http://{server.address}/")
    page.wait_for_function(panel_page.READY, timeout=60_000)

    def export(name):
        (found,) = (path for root in package.__path__ for path in Path(root).rglob(f"{name}.json"))
        path = tmp_path_factory.mktemp("exported") / found.name
        exported = page.evaluate(EXPORT, json.loads(found.read_text("utf-8")))
        if not all(node["class_type"] for node in exported.values()):
            pytest.skip(f"this ComfyUI is older than some nodes of {name}")
        path.write_text(json.dumps(exported))
        return prompt.load(path)

    yield export
    page.close()


@pytest.mark.parametrize("name", EXPERTS)
def test_official_workflow_gets_a_backend_before_each_expert(server, export, name):
    exported = export(name)
    catalogue = Catalogue(server.get("/object_info"))

    assert missing_outputs(exported, catalogue) == ""
    sized = prompt.with_clip(exported, 25, "832x1216")
    wiring = wire(sized, catalogue)
    variant, _ = wiring.variant("cudnn", "1")

    assert prompt.clip_of(sized) == ("832x1216", 25)
    assert len(wiring.samplers) == len(wiring.watchers) == EXPERTS[name]
    classes = [node["class_type"] for node in variant.values()]
    assert classes.count("WanAttnBackend") == EXPERTS[name]
    reached = {source for node in variant.values() for source, _ in prompt.links(node).values()}
    assert reached <= set(variant)
    for key in wiring.samplers:
        (model, _) = prompt.links(variant[key])["model"]
        assert variant[model]["class_type"] == "WanAttnDiagnostics"
