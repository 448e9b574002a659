"""What the panel's tests do on the host's page."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from wanattn.tests.host.graph import Graph, experts
from wanattn.tests.host.hosts import version_of

TESTS = Path(__file__).resolve().parents[1]
ARTEFACTS = TESTS / "artefacts"
DESIGNS = {"classic": False, "nodes2": True}
STEPS = 128

READY = "window.app?.graph && window.app?.extensionManager?.command"
LOAD = """async ([graph, places]) => {
    await window.app.loadApiJson(graph, "wanattn.json");
    for (const node of window.app.graph.nodes) node.pos = places[node.id] ?? [node.id * 10, 1200];
    const saved = window.app.graph.serialize();
    await window.app.loadGraphData({ ...saved, id: crypto.randomUUID() }); // an id of its own, as a file has
    window.app.canvas.ds.scale = 1;
    window.app.canvas.ds.offset = [80, 70];
    window.app.canvas.setDirty(true, true);
}"""
SEND = """async payloads => {
    const { api } = await import("/scripts/api.js");
    for (const payload of payloads) api.dispatchCustomEvent(payload.places ? "wanattn.bench" : "wanattn.update", payload);
}"""
PANEL = """([id, selector]) => {
    const widget = window.app.canvas.graph.getNodeById(id)?.widgets?.find(widget => widget.name === "wanattn");
    return widget?.element.querySelector(selector)?.textContent ?? "";
}"""
WATCH = """nodes => {
    window.states = [];
    for (const node of nodes) {
        const widget = window.app.graph.getNodeById(node).widgets.find(widget => widget.name === "wanattn");
        const state = widget.element.querySelector(".state");
        new MutationObserver(() => window.states.push(`${node} ${state.textContent}`))
            .observe(state, { childList: true, subtree: true });
    }
}"""
FRAMES = """() => new Promise(done => {
    const start = performance.now();
    let frames = 0;
    const count = () => (frames += 1, performance.now() - start < 2000 ? requestAnimationFrame(count) : done(frames / 2));
    requestAnimationFrame(count);
})"""


def settle(page):
    page.wait_for_function(READY, timeout=60_000)
    page.wait_for_timeout(1500)  # the page restores its last workflow first


def fixture(name, **changes):
    path = TESTS / "web" / "fixtures" / f"{name}.json"
    return {**json.loads(path.read_text(encoding="utf-8")), **changes}


def pair() -> tuple[Graph, dict]:
    """A backend and a diagnostics node for each expert, without a sampler, and where they stand."""
    graph = Graph()
    for name in ("high_noise", "low_noise"):
        graph.diagnostics(graph.backend(graph.load(name)))
    rows = {"1": [0, 0], "2": [0, 130], "3": [300, 0], "4": [0, 420], "5": [0, 550], "6": [930, 0]}
    return graph, rows


def text(page, node, selector=".headline"):
    return page.evaluate(PANEL, [node, selector]).replace("\u00a0", " ")


def wait_for(page, node, selector, pattern, seconds=60):
    deadline = time.monotonic() + seconds
    while not re.search(pattern, found := text(page, node, selector)):
        assert time.monotonic() < deadline, f"node {node}: {found!r}, expected {pattern!r}"
        page.wait_for_timeout(50)


def screenshot(server, page, name):
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"panel_{version_of(server.host)}_{name}.png")


def long_run(seed) -> tuple[Graph, dict]:
    """Both experts, long enough to look at the page while they run."""
    graph = experts("cudnn", f"panel_{seed}", seed)
    for node in graph.values():
        if node["class_type"] == "KSamplerAdvanced":
            half = {2: STEPS // 2, 10000: 10000, 0: 0}
            inputs = node["inputs"]
            inputs.update(
                steps=STEPS,
                start_at_step=half[inputs["start_at_step"]],
                end_at_step=half[inputs["end_at_step"]],
            )
    places = {}
    for position in range(2):
        places[graph.node("WanAttnBackend", position)] = [0, 450 * position]
        places[graph.node("WanAttnDiagnostics", position)] = [300 + 630 * position, 0]
    return graph, places
