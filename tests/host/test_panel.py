"""The panel on the real page: during a run, after a reload, in both node designs and palettes, in subgraphs and big graphs."""

import json
import re
from pathlib import Path

import pytest
from wanattn.attention.report.html import render
from wanattn.tests.host.panel_page import (
    DESIGNS,
    FRAMES,
    LOAD,
    SEND,
    STEPS,
    WATCH,
    fixture,
    long_run,
    pair,
    screenshot,
    settle,
    still,
    text,
    wait_for,
)


@pytest.mark.parametrize("design", list(DESIGNS))
def test_panel_changes_during_a_run_and_survives_a_reload(server, open_page, design):
    page = open_page(design)
    graph, places = long_run(seed=100 + list(DESIGNS).index(design))
    high, low = (graph.node("WanAttnDiagnostics", position) for position in range(2))
    page.evaluate(LOAD, [graph, places])
    page.evaluate(WATCH, [high, low])
    page.evaluate("() => void window.app.queuePrompt(0)")

    page.wait_for_function(
        f"window.states.some(state => /^{low} .*running.*step ([2-9]|[1-9][0-9])/.test(state))",
    )
    screenshot(server, page, f"run_{design}")
    wait_for(page, low, ".state", "finished")
    for node in (high, low):
        steps = re.findall(
            rf"^{node} .*running(step \d+ of 0\u2013{STEPS // 2 - 1})",
            "\n".join(page.evaluate("window.states")),
            re.M,
        )
        assert len(set(steps)) >= 2
    shown = [text(page, node) for node in (high, low)]
    assert shown == ["cuDNN \u2192 flash 100 %"] * 2
    assert "cuDNN does not exist on cpu" in text(page, high, ".fallbacks")
    wait_for(page, graph.node("WanAttnBackend"), ".warning", "fell back")
    wait_for(page, graph.node("WanAttnReport"), "pre", "asked cudnn, ran flash 100 %")

    page.reload(wait_until="domcontentloaded")
    settle(page)
    wait_for(page, high, ".state", "finished")
    assert [text(page, node) for node in (high, low)] == shown
    wait_for(page, graph.node("WanAttnReport"), "pre", "asked cudnn, ran flash 100 %")


def test_a_node_deleted_during_a_run_leaves_the_others_alone(server, open_page):
    page = open_page()
    graph, places = long_run(seed=200)
    high, low = (graph.node("WanAttnDiagnostics", position) for position in range(2))
    page.evaluate(LOAD, [graph, places])
    page.evaluate("() => void window.app.queuePrompt(0)")
    wait_for(page, high, ".state", "running")
    page.evaluate("id => window.app.graph.remove(window.app.graph.getNodeById(id))", high)

    wait_for(page, low, ".state", "finished")
    assert page.evaluate("id => !window.app.graph.getNodeById(id)", high)


@pytest.mark.parametrize("palette", ["dark", "light"])
@pytest.mark.parametrize("design", list(DESIGNS))
def test_both_experts_side_by_side(server, open_page, design, palette):
    page = open_page(design, palette)
    page.evaluate(LOAD, list(pair()))
    page.evaluate(
        SEND,
        [
            fixture("expert", node="3"),
            fixture("running", node="6"),
            fixture("expert", node="2", grid=None),
        ],
    )

    wait_for(page, "3", ".headline", "flash 50 %, cuDNN 50 %, math <1 %")
    wait_for(page, "6", ".state", "step 3 of 0\u20139")
    wait_for(page, "2", ".warning", "1 fell back")
    assert page.evaluate("document.querySelectorAll('.wanattn:not(.line) svg.cells').length") == 4
    page.wait_for_selector(f".wanattn[data-tone={palette}]")
    screenshot(server, page, f"{design}_{palette}")


@pytest.mark.parametrize("design", list(DESIGNS))
def test_content_never_changes_the_size_of_the_node(open_page, design):
    page = open_page(design)
    page.evaluate(LOAD, list(pair()))
    size = "Array.from(window.app.graph.getNodeById('3').size)"
    before = still(page, size)
    page.evaluate(SEND, [fixture("large", node="3")])
    wait_for(page, "3", ".headline", "20 %")

    assert still(page, size) == before


def test_a_palette_changed_later_changes_the_panel(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("expert", node="3")])
    page.wait_for_selector(".wanattn[data-tone=dark] .headline:not(:empty)")
    page.evaluate("window.app.extensionManager.setting.set('Comfy.ColorPalette', 'light')")

    page.wait_for_selector(".wanattn[data-tone=light] .headline:not(:empty)")


def test_a_node_inside_a_subgraph_is_found_by_its_execution_id(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    outer, inner = page.evaluate("""() => {
        const graph = window.app.graph;
        const { node } = graph.convertToSubgraph(new Set([graph.getNodeById("3")]));
        return [node.id, node.subgraph.nodes[0].id].map(String);
    }""")
    page.evaluate(SEND, [fixture("small", node=f"{outer}:{inner}")])
    page.evaluate(
        """id => {
        const { subgraph } = window.app.graph.getNodeById(id);
        window.app.canvas.setGraph(subgraph);
        subgraph.nodes[0].pos = [100, 100];
        window.app.canvas.ds.scale = 1;
        window.app.canvas.ds.offset = [0, 0];
    }""",
        outer,
    )

    wait_for(page, inner, ".headline", "^cuDNN \u2192 flash 100 %$")
    assert f"node {outer}:{inner}" in text(page, inner, ".state")


@pytest.mark.parametrize("design", list(DESIGNS))
def test_a_graph_of_150_nodes_stays_quick(open_page, design):
    page = open_page(design)
    graph, places = pair()
    for index in range(150):
        model = graph.shifted(["3", 0])
        places[model[0]] = [(index % 15) * 320, 1200 + (index // 15) * 180]
    page.evaluate(LOAD, [graph, places])
    page.evaluate(SEND, [fixture("large", node=node, state="running") for node in ("3", "6")])
    wait_for(page, "6", ".headline", "20 %")
    before = page.evaluate(FRAMES)
    page.evaluate(
        """async payload => {
        const { api } = await import("/scripts/api.js");
        setInterval(() => {
            for (const grid of payload.grid) for (const line of grid.row) line.push(line.shift());
            for (const node of ["3", "6"]) api.dispatchCustomEvent("wanattn.update", { ...payload, node });
        }, 200);
    }""",
        fixture("large", state="running"),
    )

    assert (
        page.evaluate(FRAMES) >= before / 3
    )  # both drawn anew five times a second, at their largest


def test_a_panel_off_the_screen_shows_its_newest_payload_when_it_comes_back(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    move = "offset => { window.app.canvas.ds.offset = offset; window.app.canvas.setDirty(true, true); }"
    page.evaluate(move, [9000, 9000])
    still(page, "window.app.canvas.ds.offset[0]")
    page.evaluate(SEND, [fixture("small", node="3")])
    still(page, "window.app.canvas.ds.offset[0]")
    page.evaluate(move, [80, 70])

    wait_for(page, "3", ".headline", "cuDNN \u2192 flash 100 %")


def test_nothing_of_a_run_goes_into_the_workflow_or_the_prompt(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("expert", node="3")])
    wait_for(page, "3", ".headline", "cuDNN")
    saved, prompt = page.evaluate("""async () => {
        const { output } = await window.app.graphToPrompt();
        return [JSON.stringify(window.app.graph.serialize()), output["3"].inputs];
    }""")

    assert "OutOfMemory" not in saved
    assert "H100" not in saved
    assert "wanattn" not in prompt


def test_the_saved_html_is_the_report(open_page):
    page = open_page()
    payload = fixture("expert", node="3")
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [payload])
    wait_for(page, "3", ".headline", "cuDNN")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save HTML").first.evaluate("button => button.click()")

    assert download.value.suggested_filename == "attention_report_3.html"
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    assert part_of(saved, "importmap") == part_of(render(payload), "importmap")
    assert json.loads(part_of(saved, "application/json")) == payload


def part_of(html, kind):
    return re.search(f'type="{kind}"[^>]*>([^<]*)</script>', html)[1]


def test_the_keyboard_walks_the_grid_and_moves_no_node(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("expert", node="3")])
    wait_for(page, "3", ".headline", "cuDNN")
    places = (
        "Object.fromEntries(window.app.graph.nodes.map(node => [node.id, Array.from(node.pos)]))"
    )
    before = page.evaluate(places)
    page.get_by_role("group", name="Attention Diagnostics").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate(
        "document.activeElement.closest('.wanattn .steps, .wanattn .choice') !== null"
    )
    page.locator("svg.cells").first.focus()
    for key in ("ArrowRight", "ArrowDown", "End"):
        page.keyboard.press(key)

    wait_for(page, "3", ".facts .place", "^self, step 6, block 39$")
    assert page.evaluate(places) == before


@pytest.mark.parametrize("design", list(DESIGNS))
def test_the_canvas_still_pans_and_the_panel_scrolls(open_page, design):
    page = open_page(design)
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("large", node="3")])
    wait_for(page, "3", ".headline", "20 %")
    area = still(page, "document.querySelector('.wanattn:not(.line)').getBoundingClientRect()")
    view = "[...window.app.canvas.ds.offset, window.app.canvas.ds.scale].map(Math.round)"
    x, y = area["x"] + 200, area["y"] + 12
    page.mouse.click(x, y)  # Nodes 2.0 leaves the wheel to what has the focus
    page.mouse.wheel(0, 200)
    page.wait_for_function("document.querySelector('.wanattn:not(.line)').scrollTop === 200")
    assert still(page, view) == [80, 70, 1]

    page.mouse.down(button="middle")
    page.mouse.move(x + 60, y + 30, steps=4)
    page.mouse.up(button="middle")
    assert still(page, view) == [140, 100, 1]
