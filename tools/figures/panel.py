"""How long the browser's scripts take to draw the largest panel: 40 blocks, 50 steps, three roles.

python tools/figures/panel.py [payload.json]; needs playwright and a Chromium on the PATH.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from wanattn.attention.report.html import render

PAYLOAD = Path(__file__).parents[2] / "tests" / "web" / "fixtures" / "large.json"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LIMIT_MS = 50
REPEATS = 15
MEASURES = {
    "script": "ScriptDuration",
    "style": "RecalcStyleDuration",
    "layout": "LayoutDuration",
    "all": "TaskDuration",
}
NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
SETUP = f"""async () => {{
    const {{ createPanel }} = await import("wanattn/panel.js");
    const payload = JSON.parse(document.getElementById("wanattn-payload").textContent);
    let panel;
    window.first = async () => {{
        panel?.element.remove();
        panel?.dispose();
        panel = createPanel();
        document.body.append(panel.element);
        panel.update(payload);
        await {NEXT_FRAME};
    }};
    window.update = async () => {{
        for (const grid of payload.grid) for (const line of grid.row) line.push(line.shift());
        panel.update({{ ...payload }});
        await {NEXT_FRAME};
    }};
    window.colour = async () => {{
        const radios = [...panel.element.querySelectorAll("input")];
        radios[(radios.findIndex(radio => radio.checked) + 1) % radios.length].click();
        await {NEXT_FRAME};
    }};
    for (const panel of document.querySelectorAll(".wanattn")) panel.remove();
}}"""


def measure(page, devtools, action: str) -> dict[str, float]:
    before = metrics(devtools)
    page.evaluate(f"window.{action}()")
    after = metrics(devtools)
    return {name: 1000 * (after[key] - before[key]) for name, key in MEASURES.items()}


def metrics(devtools) -> dict[str, float]:
    return {
        each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]
    }


def run(playwright, chromium: str, path: Path) -> float:
    browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    page = browser.new_page(viewport={"width": 900, "height": 1000})
    page.goto(path.as_uri())
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    page.evaluate(SETUP)
    print(f"Chromium {browser.version}, milliseconds, median (worst) of {REPEATS}")
    worst = 0.0
    for action in ("first", "update", "colour"):
        samples = [measure(page, devtools, action) for _ in range(REPEATS)]
        columns = {name: [sample[name] for sample in samples] for name in MEASURES}
        texts = (
            f"{name} {statistics.median(column):.1f} ({max(column):.1f})"
            for name, column in columns.items()
        )
        print(f"  {action:7}", "  ".join(texts))
        worst = max(worst, statistics.median(columns["script"]))
    browser.close()
    return worst


def main(arguments: list[str]) -> int:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("panel benchmark skipped: playwright not installed")
        return 0
    chromium = shutil.which("chromium") or shutil.which("chrome")
    if chromium is None:
        print("panel benchmark skipped: no chromium on the PATH")
        return 0
    payload = json.loads(Path(arguments[0] if arguments else PAYLOAD).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        path.write_text(render(payload), encoding="utf-8")
        worst = run(playwright, chromium, path)
    print(f"script time {worst:.1f} ms, limit {LIMIT_MS} ms")
    return int(worst > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
