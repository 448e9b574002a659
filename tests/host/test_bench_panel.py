"""The benchmark's bars on the real page: while it measures, after a reload, in both node designs and palettes."""

import pytest
from wanattn.tests.host.graph import Graph
from wanattn.tests.host.panel_page import (
    DESIGNS,
    LOAD,
    SEND,
    fixture,
    screenshot,
    settle,
    still,
    text,
    wait_for,
)

NODE = "2"
STATES = """node => {
    window.states = [];
    const widget = window.app.graph.getNodeById(node).widgets.find(widget => widget.name === "wanattn");
    const root = widget.element;
    new MutationObserver(() => window.states.push(`${root.querySelectorAll(".race li").length} ${root.querySelector(".state").textContent}`))
        .observe(root, { childList: true, subtree: true, characterData: true });
}"""
ROWS = """id => {
    const widget = window.app.graph.getNodeById(id).widgets.find(widget => widget.name === "wanattn");
    return [...widget.element.querySelectorAll(".race")].map(list => [...list.children].map(row => row.textContent));
}"""


def graph(**changes) -> tuple[Graph, dict]:
    """A benchmark alone behind its loader, and where they stand."""
    small = {
        "width": 64,
        "height": 64,
        "frames": "5",
        "backends": "",
        "repeat": 3,
        "measure_again": 0,
    }
    made = Graph()
    made.add("WanAttnBenchmark", model=made.load("high_noise"), **{**small, **changes})
    return made, {"1": [0, 0], NODE: [300, 0]}


def shown(page):
    return [[row.replace("\u00a0", " ") for row in rows] for rows in page.evaluate(ROWS, NODE)]


@pytest.mark.parametrize("design", list(DESIGNS))
def test_bars_grow_during_a_benchmark_and_survive_a_reload(server, open_page, design):
    page = open_page(design)
    number = 1000 + list(DESIGNS).index(design)
    slow = {"width": 256, "height": 256, "frames": "17,33", "repeat": 5, "measure_again": number}
    page.evaluate(LOAD, list(graph(**slow)))
    assert text(page, NODE) == "queue the workflow to measure"
    page.evaluate(STATES, NODE)
    page.evaluate("() => void window.app.queuePrompt(0)")

    wait_for(page, NODE, ".state", "running.* of .* rows measured")
    wait_for(page, NODE, ".state", "finished12 of 12 rows measured")
    states = page.evaluate("window.states")
    assert len({state for state in states if "running" in state}) >= 3, states
    before = shown(page)
    assert len(before) == 4
    assert all("ms" in row for rows in before for row in rows)
    assert [row for row in before[0] if "baseline" in row and row.startswith("host")]
    kept = [{"kept for auto" in row for row in rows if row[:4] != "host"} for rows in before]
    assert all(len(found) == 1 for found in kept), before  # a place as a whole, or none of it
    assert ("left for auto to measure" in text(page, NODE, ".unseen")) == ({False} in kept)
    screenshot(server, page, f"bench_{design}_run")

    page.reload(wait_until="domcontentloaded")
    settle(page)
    wait_for(page, NODE, ".state", "finished")
    assert shown(page) == before


@pytest.mark.parametrize("palette", ["dark", "light"])
@pytest.mark.parametrize("design", list(DESIGNS))
def test_bars_in_both_designs_and_palettes(server, open_page, design, palette):
    page = open_page(design, palette)
    page.evaluate(LOAD, list(graph()))
    page.evaluate(SEND, [fixture("bench_finished", node=NODE)])

    wait_for(page, NODE, ".headline", "Use fa3: 1.94x faster than host")
    page.wait_for_selector(f".wanattn.bench[data-tone={palette}]")
    screenshot(server, page, f"bench_{design}_{palette}")
    last = shown(page)[2]
    assert [row.split("ms")[0] for row in last][:2] == ["fa3_fp8158 ", "fa3211 "]
    assert "approximate" in last[0] and "approximate" not in last[1]
    assert "sage not measured: sageattention not installed" in text(page, NODE, ".rest")
    widths = """selector => [...document.querySelectorAll(selector)].map(bar => bar.getBoundingClientRect().width)"""
    bars = page.evaluate(widths, ".place:nth-child(3) .track .fill")
    assert bars == sorted(bars) and 0.15 < bars[0] / bars[-1] < 0.25


def test_a_benchmark_half_done_shows_what_it_has(server, open_page):
    page = open_page()
    page.evaluate(LOAD, list(graph()))
    page.evaluate(SEND, [fixture("bench_running", node=NODE)])
    wait_for(page, NODE, ".headline", "25 frames text cudnn, first call")
    screenshot(server, page, "bench_running")
    assert [len(rows) for rows in shown(page)] == [6, 1]

    page.evaluate(SEND, [fixture("bench_finished", node=NODE, state="interrupted")])
    wait_for(page, NODE, ".state", "interrupted24 of 28 rows measured")


def test_hostile_names_stay_text_and_inside_the_node(server, open_page):
    page = open_page()
    page.evaluate(LOAD, list(graph()))
    size = f"Array.from(window.app.graph.getNodeById('{NODE}').size)"
    before = still(page, size)
    page.evaluate(SEND, [fixture("bench_hostile", node=NODE)])
    wait_for(page, NODE, ".state", "failed")
    screenshot(server, page, "bench_hostile")

    assert page.evaluate("window.hostile") is None
    assert page.evaluate("document.querySelectorAll('.wanattn.bench :is(img, script)').length") == 0
    assert still(page, size) == before
    overflow = (
        "(root => root.scrollWidth - root.clientWidth)(document.querySelector('.wanattn.bench'))"
    )
    assert page.evaluate(overflow) <= 0


@pytest.mark.parametrize("design", list(DESIGNS))
def test_a_narrow_node_shows_all_of_a_row(server, open_page, design):
    page = open_page(design)
    page.evaluate(LOAD, list(graph()))
    finished = fixture("bench_finished", node=NODE)
    finished["places"][0]["rows"][0]["backend"] = "a_kernel_with_a_long_name"
    page.evaluate(SEND, [finished])
    wait_for(page, NODE, ".headline", "Use fa3")
    page.evaluate(f"window.app.graph.getNodeById('{NODE}').setSize([240, 640])")
    page.evaluate("window.app.canvas.setDirty(true, true)")
    still(page, "document.querySelector('.wanattn.bench').clientWidth")
    screenshot(server, page, f"bench_{design}_narrow")

    overflow = "(root => [root.clientWidth < 240, root.scrollWidth - root.clientWidth])(document.querySelector('.wanattn.bench'))"
    assert page.evaluate(overflow) == [True, 0]


def test_the_report_can_be_copied_as_text(open_page):
    page = open_page()
    page.evaluate(LOAD, list(graph()))
    payload = fixture("bench_finished", node=NODE)
    page.evaluate(SEND, [payload])
    wait_for(page, NODE, ".headline", "Use fa3")
    page.evaluate(
        "navigator.clipboard.writeText = text => (window.copied = text, Promise.resolve())"
    )
    page.get_by_role("button", name="Copy Markdown").evaluate("button => button.click()")

    wait_for(page, NODE, "footer", "Markdown copied")
    assert page.evaluate("window.copied") == payload["text"]


def test_a_screen_reader_gets_lists_and_no_pictures(open_page):
    page = open_page()
    page.evaluate(LOAD, list(graph()))
    page.evaluate(SEND, [fixture("bench_finished", node=NODE)])
    wait_for(page, NODE, ".headline", "Use fa3")

    lists = page.get_by_role(
        "list", name="milliseconds of a call, fastest first: self 82,992 tokens"
    )
    assert lists.get_by_role("listitem").count() == 6
    assert page.locator(".wanattn.bench svg:not([aria-hidden=true])").count() == 0
