"""A panel is drawn in a moment, however much a payload holds; in a real browser."""

from __future__ import annotations

import pytest
from wanattn.tests.web.pages import open_modules

MOST_MILLISECONDS = 100
TRIES = 30  # at most: others use this machine too
DRAW = """async ([make, tries, most]) => {
    const { createPanel } = await import("/web/report/panel.js");
    const expert = await (await fetch("/tests/web/fixtures/expert.json")).json();
    const payload = eval(make)(expert);
    const acts = [];
    window.requestAnimationFrame = act => acts.push(act);
    const times = [];
    for (let turn = 0; turn < tries; turn += 1) {
        const panel = createPanel({ saveHtml: async () => {} });
        document.body.replaceChildren(panel.element);
        acts.splice(0).forEach(act => act());
        await new Promise(done => setTimeout(done, 50));
        acts.splice(0).forEach(act => act());
        const start = performance.now();
        panel.update(payload);
        while (!acts.length) await new Promise(done => setTimeout(done, 1));
        const wait = performance.now() - start;
        acts.splice(0).forEach(act => act());
        document.body.getBoundingClientRect();
        times.push(performance.now() - start - (wait > 20 ? wait : 0));
        panel.dispose();
        if (times.at(-1) < most) break;
    }
    const text = document.body.textContent;
    return { best: Math.min(...times), text, items: document.querySelectorAll("*").length };
}"""
# What no server of ours sends, made where it is drawn: to hand such an amount over takes seconds.
MANY = {
    # 10,000 steps of 40 blocks, and the seconds of 125,000
    "steps": """expert => {
        const twenty = (...pair) => Array.from({ length: 20 }, () => pair).flat();
        const often = row => Array.from({ length: 10_000 }, () => row);
        Object.assign(expert.runs[0], { steps: 10_000, step_seconds: Array.from({ length: 125_000 }, (_, n) => 1.5 + n % 2) });
        for (const grid of expert.grid) Object.assign(grid, { steps: 10_000, row: often(twenty(0, 1)), ms: often(twenty(38.6, 0.61)) });
        return expert;
    }""",
    "rows": """expert => {
        const names = Array.from({ length: 16_000 }, (_, n) => `k${n}`);
        return {
            ...expert,
            rows: names.map((active, n) => ({ ...expert.rows[0], q_len: 1000 + n, active })),
            totals: Object.fromEntries(names.map(name => [name, 1])),
            fallbacks: names.map(name => ({ requested: "auto", active: name, reason: name, calls: 1 })),
            requested: names.join(", "),
        };
    }""",
    "words": """expert => {
        const words = Array.from({ length: 16_000 }, (_, n) => `${n} ${"w".repeat(200)}`);
        const past = words.map(how => ({ calls: 1, role: "self", how, ran: "" }));
        for (const row of expert.rows) Object.assign(row, { reasons: words, kernels: words, operators: words });
        return { ...expert, notes: words, coverage: words, files: words, account: { calls: 16_000, hooked: 0, past } };
    }""",
    "runs": """expert => ({
        ...expert, runs: Array.from({ length: 10_000 }, (_, n) => ({ ...expert.runs[0], run: n + 1 })),
    })""",
    "grids": """expert => ({
        ...expert, grid: Array.from({ length: 1000 }, (_, n) => ({ ...expert.grid[0], role: `role ${n}` })),
    })""",
}


@pytest.fixture(scope="module")
def page(browser):
    page = open_modules(browser)
    yield page
    page.context.close()


@pytest.mark.parametrize(
    ("many", "says"),
    [
        ("steps", "each bar the mean of 125 steps"),
        ("rows", "15,900 more rows"),
        ("words", "and 31,940 more"),
        ("runs", "run 10000"),
        ("grids", "and 984 more grids"),
    ],
)
def test_any_amount_is_drawn_in_a_moment(page, many, says):
    drawn = page.evaluate(DRAW, [MANY[many], TRIES, MOST_MILLISECONDS])

    assert says in drawn["text"]
    assert drawn["items"] < 6000
    assert drawn["best"] < MOST_MILLISECONDS
