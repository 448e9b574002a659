"""An idle page, a run, a failed one, the sidebar, a report and the wiring command leave no error in the console."""

import json

import pytest
from wanattn.tests.host.panel_page import DESIGNS, LOAD, still, wait_for
from wanattn.tests.host.test_page_states import SIDEBAR, sampled
from wanattn.tests.host.test_page_wiring import COMMAND, OPEN, UNDO, templates


def ran(page, design, backend, on_refusal, node, selector, pattern):
    graph, places = sampled(backend, on_refusal, prefix=f"console_{design}_{backend}")
    page.evaluate(LOAD, [graph, places])
    page.evaluate("() => void window.app.queuePrompt(0)")
    wait_for(page, graph.node(node), selector, pattern)


@pytest.mark.parametrize("design", list(DESIGNS))
def test_the_console_has_no_error_but_the_hosts_own(open_page, design):
    page = open_page(design)
    ran(page, design, "flash", "next best", "WanAttnReport", "pre", "ran flash")
    page.evaluate(SIDEBAR)
    page.wait_for_selector(".wanattn.overview .card")
    with page.expect_popup() as opened:
        page.locator(".wanattn.text .files button").evaluate("button => button.click()")
    opened.value.wait_for_selector(".wanattn.page .headline:not(:empty)")
    ran(page, design, "cudnn", "stop", "WanAttnDiagnostics", ".failure", "cuDNN does not exist")
    for path in templates():
        if path.stem == "video_wan2_2_14B_t2v":
            page.evaluate(OPEN, json.loads(path.read_text(encoding="utf-8")))
    for step in ((COMMAND, "addAll"), (UNDO,), (COMMAND, "add"), (COMMAND, "remove")):
        page.evaluate(*step)
    still(page, "window.app.graph.nodes.length")

    assert page.problems == []
