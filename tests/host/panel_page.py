"""What the panel's tests do on the host's page."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from wanattn.tests.host.graph import Graph, experts
from wanattn.tests.host.hosts import version_of

TESTS = Path(__file__).resolve().parents[1]
ARTEFACTS = TESTS / "artefacts"
DESIGNS = {"classic": False, "nodes2": True}
STEPS = 128

PATIENCE = 120  # seconds that a loaded machine may take for what a quick one does at once
THROTTLE = "WANATTN_PAGE_THROTTLE"  # how many times slower than this machine the page shall be

READY = """() => {
    const { graph, extensionManager: page } = window.app ?? {};
    return graph && page?.command && page.spinner === false && page.workflow.activeWorkflow?.changeTracker?.activeState;
}"""
STILL = """([expression, frames]) => new Promise(done => {
    let [before, same] = [undefined, 0];
    const look = () => {
        const now = JSON.stringify(eval(expression) ?? null);
        [before, same] = [now, now === before ? same + 1 : 0];
        if (same >= frames) done(JSON.parse(now));
        else requestAnimationFrame(look);
    };
    look();
})"""
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


def new_page(browser, width=1640, height=960):
    """A page that is given time, and made slow where a run of the tests asks for it."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE * 1000)
    if rate := os.environ.get(THROTTLE):
        session = page.context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": float(rate)})
    return page


def settle(page):
    """Waits until the page has restored its last workflow."""
    page.wait_for_function(READY)
    still(page, "window.app.extensionManager.workflow.activeWorkflow.path")


def still(page, expression, frames=20):
    """The value of an expression once so many frames in a row have not changed it."""
    return page.evaluate(STILL, [expression, frames])


def until(page, act, seen, every=5):
    """Repeats an action, which a busy page may lose, until its effect is seen."""
    deadline = time.monotonic() + PATIENCE
    while True:
        act()
        try:
            return page.wait_for_function(seen, timeout=every * 1000)
        except page_timeout():
            assert time.monotonic() < deadline, f"never seen: {seen}"


def page_timeout():
    from playwright.sync_api import TimeoutError

    return TimeoutError


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


def wait_for(page, node, selector, pattern, seconds=PATIENCE):
    """Waits as long as what stands there goes on changing, as a run does that a loaded machine draws out."""
    deadline, before = time.monotonic() + seconds, None
    end = time.monotonic() + 5 * seconds
    while not re.search(pattern, found := text(page, node, selector)):
        if found != before:
            deadline, before = min(time.monotonic() + seconds, end), found
        assert time.monotonic() < deadline, f"node {node}: {found!r}, expected {pattern!r}"
        page.wait_for_timeout(50)


def screenshot(server, page, name):
    still(page, "document.fonts.status")
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
