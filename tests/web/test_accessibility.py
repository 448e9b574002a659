"""By keyboard and by ear: every view's controls have names, the focus is seen and stays, and a run is not read out call by call."""

from __future__ import annotations

import pytest
from wanattn.tests.web.pages import open_modules

SHOW = """async ([view, names]) => {
    const payload = async name => (await fetch(`/tests/web/fixtures/${name}.json`)).json();
    const { createPanel } = await import("/web/report/panel.js");
    const { createLine } = await import("/web/views/line.js");
    const { createBench } = await import("/web/views/bench.js");
    const { createReport } = await import("/web/views/report.js");
    const { createOverview } = await import("/web/views/overview.js");
    const { mount } = await import("/web/views/mount.js");
    const payloads = await Promise.all(names.map(payload));
    const made = {
        panel: () => createPanel({ saveHtml: async () => {} }),
        line: createLine,
        bench: createBench,
        report: () => createReport({ address: file => `#${file}`, open: async () => {} }),
        overview: () => createOverview({
            entries: () => payloads.map((each, index) => ({ id: String(index), title: `Expert ${index}`, kind: index ? "panel" : "line", payload: each, idle: null })),
            show: () => {}, add: () => {}, saveHtml: async () => {},
        }),
    }[view]();
    document.body.replaceChildren(made.element);
    made.element.style.height = "500px";
    const node = { title: "Attention (high noise)", size: [600, 600], setSize() {}, addDOMWidget: () => ({ options: {} }) };
    if (view !== "overview") mount(node, made.element, { least: 100 }, () => null);
    for (const each of payloads) made.update?.(view === "report" ? { payload: { ...each, files: ["a/report.html"] }, text: "as text" } : each);
    window.made = made;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
FOCUS = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const shown = at.matches("input") ? at.nextElementSibling : at;
    const { outlineStyle, outlineWidth } = getComputedStyle(shown);
    const box = shown.getBoundingClientRect();
    const root = at.closest(".wanattn").getBoundingClientRect();
    const inside = box.bottom > root.top && box.top < root.bottom && box.width > 0;
    return { what: `${at.tagName} ${at.className.baseVal ?? at.className} ${at.textContent.slice(0, 20)}`, inside, seen: outlineStyle !== "none" && parseFloat(outlineWidth) > 0 };
}"""
SPOKEN = """async ([view, name, count]) => {
    const payload = await (await fetch(`/tests/web/fixtures/${name}.json`)).json();
    const live = [...document.querySelectorAll("[role=status], [role=alert], [aria-live], output")];
    window.heard = [];
    for (const each of live) new MutationObserver(() => window.heard.push(each.textContent)).observe(each, { childList: true, subtree: true, characterData: true });
    for (let index = 1; index <= count; index += 1) {
        const done = index === count;
        const totals = { flash: 10 * index, math: 7 };
        window.made.update({ ...payload, totals, calls: 10 * index + 7, state: done ? "finished" : "running",
            ...(payload.places ? { places: payload.places.map(place => ({ ...place, rows: place.rows.slice(0, index) })) } : {}) });
        await new Promise(frame => setTimeout(frame, 40));
    }
    await new Promise(frame => setTimeout(frame, 300));
    return window.heard;
}"""
VIEWS = {
    "panel": ["expert"],
    "line": ["expert"],
    "bench": ["bench_finished"],
    "report": ["expert"],
    "overview": ["expert", "running", "failed"],
}
CONTROLS = {
    "button",
    "radio",
    "link",
    "application",
    "region",
    "group",
    "Iframe",
    "DisclosureTriangle",
}


@pytest.fixture(scope="module")
def page(browser):
    page = open_modules(browser)
    yield page
    page.context.close()


def focusable(page) -> list[dict]:
    """What the accessibility tree says of everything that can have the focus."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    found = []
    for node in nodes:
        properties = {
            each["name"]: each["value"].get("value") for each in node.get("properties", [])
        }
        role = node.get("role", {}).get("value")
        if properties.get("focusable") and role != "RootWebArea" and not node.get("ignored"):
            found.append({"role": role, "name": node.get("name", {}).get("value", "")})
    return found


@pytest.mark.parametrize("view", list(VIEWS))
def test_everything_that_takes_the_focus_has_a_role_and_a_name(page, view):
    page.evaluate(SHOW, [view, VIEWS[view]])
    found = focusable(page)

    assert found
    assert [
        each for each in found if not each["name"].strip() or each["role"] not in CONTROLS
    ] == []


@pytest.mark.parametrize("view", list(VIEWS))
def test_the_tab_key_reaches_all_and_the_focus_is_seen(page, view):
    page.evaluate(SHOW, [view, VIEWS[view]])
    page.evaluate("document.activeElement?.blur()")
    walked = []
    for _ in range(80):
        page.keyboard.press("Tab")
        if (at := page.evaluate(FOCUS)) is None:
            break
        walked.append(at)

    assert [at for at in walked if not (at["inside"] and at["seen"])] == []
    assert len(walked) >= {"line": 1, "report": 4}.get(view, 2)


@pytest.mark.parametrize("view", ["panel", "report"])
def test_tables_have_headers(page, view):
    page.evaluate(SHOW, [view, VIEWS[view]])
    tables = page.get_by_role("table").all()

    assert tables
    for table in tables:
        heads = table.get_by_role("columnheader")
        assert heads.count() == table.get_by_role("row").nth(1).get_by_role("cell").count()


@pytest.mark.parametrize(
    ("view", "name"), [("panel", "running"), ("line", "running"), ("bench", "bench_running")]
)
def test_a_screen_reader_hears_the_end_of_a_run_and_not_each_of_its_events(page, view, name):
    page.evaluate(SHOW, [view, [name]])
    heard = page.evaluate(SPOKEN, [view, name, 25])

    assert len(heard) <= 2, heard
    assert view == "panel" or heard[-1].startswith("finished")


def test_what_was_pressed_and_is_gone_hands_the_focus_on(page):
    page.evaluate(SHOW, ["overview", []])
    page.evaluate(
        """async () => {
        const { createOverview } = await import("/web/views/overview.js");
        const entries = [];
        const made = createOverview({ entries: () => entries, show() {}, saveHtml: async () => {},
            add: () => (entries.push({ id: "1", title: "Backend", kind: "line", payload: null, idle: null }), made.refresh()) });
        document.body.replaceChildren(made.element);
    }"""
    )
    page.get_by_role("button", name="Add Wan Attention").focus()
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.matches('.card')")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "show the node"
