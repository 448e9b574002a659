"""The nodes on the real page: status text while sampling, the report after it, in both node designs."""

import re
from pathlib import Path

import pytest
from wanattn.tests.host.graph import Graph
from wanattn.tests.host.hosts import version_of
from wanattn.tests.host.panel_page import DESIGNS, PATIENCE, new_page, settle, still
from wanattn.tests.host.server import wait_until

ARTEFACTS = Path(__file__).resolve().parents[1] / "artefacts"
STATUS = {
    "WanAttnBackend": r"flash 8/8 calls",
    "WanAttnDiagnostics": r"flash 8/8 calls",
    "WanAttnReport": r"asked flash, ran flash 100 % of 8 calls",
}
LOAD = """async graph => {
    await window.app.loadApiJson(graph, "wanattn.json");
    const places = {
        UNETLoader: [0, 0], EmptyHunyuanLatentVideo: [0, 160], TestConditioning: [0, 360],
        WanAttnBackend: [320, 0], ModelSamplingSD3: [320, 240], KSamplerAdvanced: [320, 360],
        WanAttnDiagnostics: [660, 0], WanAttnReport: [1300, 0], SaveLatent: [1300, 640],
    };
    for (const node of window.app.graph.nodes) node.pos = [...places[node.type]];
    window.app.graph.nodes.filter(node => node.type === "TestConditioning")[1].pos = [0, 500];
    Object.assign(window.app.canvas.ds, {scale: 0.8, offset: [90, 160]});
    window.app.canvas.setDirty(true, true);
}"""
TEXTS = """type => {
    const node = window.app.graph.nodes.find(node => node.type === type);
    const texts = node.widgets.map(widget => `${widget.value} ${widget.element?.textContent}`);
    return texts.join("\\n");
}"""

SHOWN = f"([type, text]) => new RegExp(text).test(({TEXTS})(type))"


@pytest.fixture(scope="module", params=list(DESIGNS))
def page(server, browser, request):
    """The page after a finished run, photographed."""
    page = new_page(browser, 1600, 1000)
    page.failures = []
    page.on("pageerror", lambda error: page.failures.append(error.stack or str(error)))
    page.on("requestfailed", lambda failed: page.failures.append(failed.url))
    page.on("response", lambda answer: answer.ok or page.failures.append(answer.url))
    vue = DESIGNS[request.param]
    settings = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": vue}
    server.post("/api/settings", settings)
    open_graph(server, page, watched_graph(seed=int(vue)))
    page.evaluate("window.app.queuePrompt(0)")
    wait_until(lambda: server.files("page/latent", ".latent"), PATIENCE, server.log)
    page.wait_for_function(SHOWN, arg=["WanAttnReport", STATUS["WanAttnReport"]])
    still(page, "document.fonts.status")
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"page_{version_of(server.host)}_{request.param}.png")
    yield page
    page.close()
    for path in server.files("page/latent", ".latent"):
        path.unlink()


@pytest.mark.parametrize("node_type", list(STATUS))
def test_node_shows_what_ran(page, node_type):
    page.wait_for_function(SHOWN, arg=[node_type, STATUS[node_type]])


def test_status_can_be_seen(page):
    texts = page.get_by_text(re.compile(r"flash 8/8 calls|flash \u2192 flash 100\s%"))

    texts.locator("visible=true").first.wait_for()


def test_page_gets_all_our_files_without_an_error(page):
    assert not [failure for failure in page.failures if "/extensions/wanattn" in failure]


def watched_graph(seed):
    graph = Graph()
    model = graph.diagnostics(graph.backend(graph.load("high_noise"), "flash"))
    latent = graph.sample(graph.shifted(model), graph.latent(), seed)
    graph.save(graph.report(model, latent, "page/report"), "page/latent")
    return graph


def open_graph(server, page, graph):
    page.goto(f"http://{server.address}/", wait_until="domcontentloaded")
    settle(page)
    page.evaluate(LOAD, graph)
