"""What a hundred panels cost on ComfyUI's own page, and a panel that is brought up to date five times a second.

python tools/figures/page.py http://127.0.0.1:8188 [payload.json]; needs a running ComfyUI with the pack, playwright and a
Chromium on the PATH. Frames a second of the classic canvas while it is dragged: a graph of a hundred plain nodes, one of a
hundred Attention Diagnostics, idle and with a finished run in each, in turns. Then the share of the page's thread that full
payloads take, against the same seconds without.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "tests" / "web" / "fixtures"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
NODES, TRIES, SECONDS, A_SECOND = 100, 4, 4, 5
FRAMES_LIMIT, SHARE_LIMIT = 40 / 47, 0.10
READY = "window.app?.graph && window.app?.extensionManager?.command"
BUILD = """([type, count]) => {
    window.app.graph.clear();
    window.ids = [];
    for (let index = 0; index < count; index += 1) {
        const node = window.LiteGraph.createNode(type);
        node.pos = [(index % 10) * 640, Math.floor(index / 10) * 700];
        window.app.graph.add(node);
        window.ids.push(String(node.id));
    }
    Object.assign(window.app.canvas.ds, { scale: count > 1 ? 0.2 : 1, offset: [100, 100] });
}"""
SEND = """async payload => {
    const { api } = await import("/scripts/api.js");
    window.send = () => { for (const node of window.ids) api.dispatchCustomEvent("wanattn.update", { ...payload, node }); };
    window.send();
}"""
DRAG = """async seconds => {
    const move = setInterval(() => {
        const { ds } = window.app.canvas;
        ds.offset[0] += ds.offset[0] > 300 ? -200 : 1;
        window.app.canvas.setDirty(true, true);
    }, 16);
    await new Promise(done => setTimeout(done, 1000));
    const start = performance.now();
    let frames = 0;
    await new Promise(done => {
        const count = () => { frames += 1; performance.now() - start < 1000 * seconds ? requestAnimationFrame(count) : done(); };
        requestAnimationFrame(count);
    });
    clearInterval(move);
    return frames / seconds;
}"""
REPEAT = """async ([seconds, often]) => {
    const timer = often && setInterval(() => window.send(), 1000 / often);
    await new Promise(done => setTimeout(done, 1000 * seconds));
    clearInterval(timer);
}"""


def open_page(browser, address: str):
    page = browser.new_page(viewport={"width": 1640, "height": 960})
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_function(READY, timeout=60_000)
    page.wait_for_timeout(2000)  # the page restores its last workflow first
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")
    return page


def frames(page, node: str, payload: dict | None = None) -> float:
    page.evaluate(BUILD, [node, NODES])
    if payload:
        page.evaluate(SEND, payload)
    page.wait_for_timeout(500)
    return page.evaluate(DRAG, SECONDS)


def busy(page, devtools, often: int) -> float:
    """The share of the page's thread that was at work."""

    def task() -> float:
        found = devtools.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in found if each["name"] == "TaskDuration")

    before = task()
    page.evaluate(REPEAT, [SECONDS, often])
    return (task() - before) / SECONDS


def measure(page, payload: dict) -> list[str]:
    """What exceeds its limit."""
    small = json.loads((FIXTURES / "small.json").read_text(encoding="utf-8"))
    runs = {
        "plain": lambda: frames(page, "ModelSamplingSD3"),
        "idle": lambda: frames(page, "WanAttnDiagnostics"),
        "done": lambda: frames(page, "WanAttnDiagnostics", small),
    }
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TRIES):
        for name, run in runs.items():
            found[name].append(run())
    best = {name: max(values) for name, values in found.items()}
    for name, values in found.items():
        told = ", ".join(f"{value:.0f}" for value in values)
        print(f"  {NODES} nodes, {name:5}  {best[name]:.0f} frames a second, best of {told}")
    page.evaluate(BUILD, ["WanAttnDiagnostics", 1])
    page.evaluate(SEND, payload)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    shares = [busy(page, devtools, A_SECOND) - busy(page, devtools, 0) for _ in range(TRIES)]
    least = min(shares)
    told = ", ".join(f"{100 * share:.1f}" for share in shares)
    print(
        f"  {A_SECOND} payloads a second, {len(json.dumps(payload)) // 1024} KiB each: {100 * least:.1f} % of the "
        f"page's thread, least of {told}"
    )
    slow = [name for name in ("idle", "done") if best[name] < FRAMES_LIMIT * best["plain"]]
    return slow + (["payloads"] if least > SHARE_LIMIT else [])


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__)
        return 2
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("page benchmark skipped: playwright not installed")
        return 0
    chromium = shutil.which("chromium") or shutil.which("chrome")
    if chromium is None:
        print("page benchmark skipped: no chromium on the PATH")
        return 0
    path = Path(arguments[1]) if len(arguments) > 1 else FIXTURES / "large.json"
    payload = json.loads(path.read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        print(f"Chromium {browser.version}, no GPU, classic nodes")
        beyond = measure(open_page(browser, arguments[0].rstrip("/")), payload)
        browser.close()
    print(f"beyond its limit: {', '.join(beyond)}" if beyond else "all within their limits")
    return int(bool(beyond))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
