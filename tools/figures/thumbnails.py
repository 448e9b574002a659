"""Draws the pictures that the template browser shows: each template as it looks on ComfyUI's page after a run.

COMFYUI_PATH=... python tools/figures/thumbnails.py [name ...], with ComfyUI's own Python; needs pytest, playwright and a Chromium on the
PATH. The checkpoints are tiny ones of random weights under the official names, the run is a real one on this machine's CPU. The
templates for WanVideoWrapper and Raylight are drawn when named, each in a server of its own with that pack, as the tests have it.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pack import ROOT, load_host

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
VIEW = {"width": 1600, "height": 1220}
FRAME = {"x": 140, "y": 130, "width": 1280, "height": 960}  # of the view, clear of the page's menus
PICTURE = (480, 360)
MOST_BYTES = 40_000
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
}
RUN = """async prompt => {
    const { api } = await import("/scripts/api.js");
    const workflow = window.app.graph.serialize();
    const body = JSON.stringify({ client_id: api.clientId, prompt, extra_data: { extra_pnginfo: { workflow } } });
    const answer = await api.fetchApi("/prompt", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (!answer.ok) throw new Error(await answer.text());
}"""
DONE = """() => {
    const shown = type => window.app.graph.nodes.filter(node => node.type === type)
        .map(node => node.widgets.find(widget => widget.name === "wanattn").element.textContent);
    const panels = ["WanAttnDiagnostics", "WanAttnWrapperDiagnostics", "WanAttnRayReport"].flatMap(shown).every(text => text.includes("finished"));
    return panels && shown("WanAttnReport").every(text => text.includes("asked") || text.includes("ran "));
}"""
LOOK = """([x, y, width, height]) => {
    const rows = window.app.graph.nodes.filter(node => /^WanAttn(Wrapper)?Diagnostics/.test(node.type)).length;
    const ours = "^WanAttn(Wrapper)?(Backend|Diagnostics)|^WanAttnRay|RayUNETLoader";
    const wanted = new RegExp(rows > 1 ? `${ours}|UNETLoader|LoraLoader|WanVideoModelLoader` : ours);
    for (const node of window.app.graph.nodes) node.has_errors = false; // files that are not here, and need not be
    const nodes = window.app.graph.nodes.filter(node => wanted.test(node.type));
    const left = Math.min(...nodes.map(node => node.pos[0])) - 30;
    const top = Math.min(...nodes.map(node => node.pos[1])) - 60;
    const right = Math.max(...nodes.map(node => node.pos[0] + node.size[0])) + 30;
    const bottom = Math.max(...nodes.map(node => node.pos[1] + node.size[1])) + 30;
    const scale = Math.min(width / (right - left), height / (bottom - top));
    const offset = [(x + width / 2) / scale - (left + right) / 2, (y + height / 2) / scale - (top + bottom) / 2];
    Object.assign(window.app.canvas.ds, { scale, offset });
    window.app.canvas.setDirty(true, true);
}"""


def checkpoints(base: Path) -> None:
    from wanattn.tests.host import tiny
    from wanattn.tests.host.test_page_templates import KINDS

    tiny.WAN["num_layers"] = 12
    folder = base / "models" / "diffusion_models"
    folder.mkdir(parents=True)
    for task, kind in KINDS.items():
        noises = [f"{each}_noise_14B_fp8_scaled" for each in ("high", "low")]
        for end in ["fp16"] if "5B" in task else noises:
            tiny.save_wan(folder, kind, 1, f"wan2.2_{task}_{end}")


def prepared(name: str, base: Path) -> tuple[dict[str, str], Callable[[dict], dict]]:
    """What the server's environment needs for a template, and what makes its prompt one that runs here."""
    from wanattn.tests.host import (
        server,
        test_page_templates,
        test_raylight_server,
        test_wrapper_server,
    )

    if "wrapper" in name:
        return test_wrapper_server.prepared(base), test_wrapper_server.runnable
    if "raylight" in name:
        made = test_raylight_server.prepared(base)
        return made, lambda prompt: test_raylight_server.small(uncommunicative(prompt))
    server.install_nodes(base)
    checkpoints(base)
    return {}, test_page_templates.runnable


def uncommunicative(prompt: dict) -> dict:
    """Raylight asks NCCL first whether it works."""
    for node in prompt.values():
        if "skip_comm_test" in node["inputs"]:
            node["inputs"]["skip_comm_test"] = True
    return prompt


def whole(prompt: dict, runnable: Callable[[dict], dict]) -> dict:
    """Without what needs the large files, with all its steps."""
    names = ("steps", "start_at_step", "end_at_step", "start_step", "end_step")
    steps = {
        key: {name: node["inputs"][name] for name in names if name in node["inputs"]}
        for key, node in prompt.items()
    }
    made = runnable(prompt)
    for key, node in made.items():
        node["inputs"].update(steps.get(key, {}))
    return made


def draw(page, server, name: str, runnable: Callable[[dict], dict]) -> bytes:
    from wanattn.tests.host.test_page_templates import OPEN, PROMPT

    page.evaluate(OPEN, server.get(f"/api/workflow_templates/wanattn/{name}.json"))
    page.evaluate(RUN, whole(page.evaluate(PROMPT), runnable))
    page.wait_for_function(DONE, timeout=240_000)
    page.evaluate(LOOK, list(FRAME.values()))
    page.wait_for_timeout(2000)
    page.evaluate(LOOK, list(FRAME.values()))
    page.wait_for_timeout(300)
    return page.screenshot(clip=FRAME)


def small(picture: bytes) -> bytes:
    """A JPEG, since the page asks for no other kind."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.resize(PICTURE, Image.Resampling.LANCZOS)
    for quality in range(90, 30, -5):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality, optimize=True)
        if out.tell() <= MOST_BYTES:
            break
    return out.getvalue()


def main() -> int:
    host = Path(os.environ["COMFYUI_PATH"])
    load_host(host, cpu=True)
    from wanattn.tools.make_workflows import TEMPLATES

    names = sys.argv[1:] or [name for name in TEMPLATES if "wrapper" not in name]
    own = [[name] for name in names if "wrapper" in name or "raylight" in name]
    others = [name for name in names if [name] not in own]
    for group in filter(None, [others, *own]):
        serve(host, group)
    return 0


def serve(host: Path, names: list[str]) -> None:
    """Draws templates that run in the same server."""
    from playwright.sync_api import sync_playwright
    from wanattn.tests.host.server import Server, serving

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        base = Path(folder)
        environment, runnable = prepared(names[0], base)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        with serving(Server(host, base, environment)) as server:
            server.post("/api/settings", SETTINGS)
            for name in names:
                shoot(browser, server, name, runnable)


def shoot(browser, server, name: str, runnable: Callable[[dict], dict]) -> None:
    from wanattn.tests.host.panel_page import settle

    page = browser.new_page(viewport=VIEW)
    page.goto(f"http://{server.address}/", wait_until="domcontentloaded")
    settle(page)
    path = ROOT / "example_workflows" / f"{name}.jpg"
    path.write_bytes(small(draw(page, server, name, runnable)))
    page.close()
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
