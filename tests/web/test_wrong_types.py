"""Whatever comes from outside, a view is drawn whole or says in a sentence why not; in a real browser."""

from __future__ import annotations

import pytest
from wanattn.tests.web.pages import open_modules

# Drawing at once, and without a rest after it, in place of once a frame.
AT_ONCE = """() => {
    window.requestAnimationFrame = act => (act(), 0);
    performance.now = () => 0;
    Element.prototype.getClientRects = () => [{}]; // or each drawing waits for the layout of the one before
}"""
TRY = """async ([name, view, make]) => {
    const { tryAll } = await import("/tests/web/faults.js");
    const { complete } = await import("/web/report/payload.js");
    const payload = await (await fetch(`/tests/web/fixtures/${name}.json`)).json();
    const module = await import(`/web/${view}.js`);
    const host = { address: file => file, open: async () => {} };
    const told = make === "createReport" ? payload => ({ text: "text", payload }) : payload => payload;
    const refuses = given => make === "createBench" ? module.completeBench(given).state === "unreadable" : Boolean(complete(given).fault);
    return tryAll(payload, () => module[make](host), refuses, told);
}"""
VIEWS = {
    "panel": ("report/panel", "createPanel"),
    "line": ("views/line", "createLine"),
    "report": ("views/report", "createReport"),
    "bench": ("views/bench", "createBench"),
}
SHOWN = [("every", "panel"), ("every", "line"), ("every", "report")]
SHOWN += [("lying", "panel"), ("idle", "panel"), ("bench_running", "bench")]


@pytest.fixture(scope="module")
def page(browser):
    page = open_modules(browser)
    page.evaluate(AT_ONCE)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def tried(browser):
    """What each view made of all wrong values; each has a page of its own, and all are at work at once."""
    pages = {}
    for name, view in SHOWN:
        pages[name, view] = page = open_modules(browser)
        page.evaluate(AT_ONCE)
        page.evaluate(f"given => {{ window.found = ({TRY})(given); }}", [name, *VIEWS[view]])
    yield lambda *shown: pages[shown].evaluate("() => window.found")
    for page in pages.values():
        page.context.close()


@pytest.mark.parametrize(("name", "view"), SHOWN)
def test_a_view_is_never_half_drawn(tried, name, view):
    found = tried(name, view)

    assert found["faults"] == []
    assert found["cases"] > {"every": 4000, "bench_running": 3000}.get(name, 1000)
    assert 0 < found["refused"] < found["cases"]  # some wrong values do no harm, others are told
    assert found["drawn"] > found["cases"] / 10


@pytest.mark.parametrize("whole", ["text", 7, True, [], [1], {}, {"schema": 1, "rows": {"0": 1}}])
def test_a_payload_that_is_none_at_all(page, whole):
    text = page.evaluate(
        """async whole => {
            const { createPanel } = await import("/web/report/panel.js");
            const panel = createPanel();
            document.body.append(panel.element);
            panel.update(whole);
            return panel.element.textContent;
        }""",
        whole,
    )
    refused = "rows is a table, needs a list" in text
    assert refused == bool(whole and isinstance(whole, dict))
