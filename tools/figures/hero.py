"""The picture at the head of README: both experts of Wan 2.2 14B with their panels, from a run on a card.

    python tools/figures/hero.py run both.json --comfyui ~/comfy/ComfyUI [--size 832x480 --frames 81 --steps 20]
    python tools/figures/hero.py draw both.json web/docs/panel.png --address http://127.0.0.1:8188

`run` needs the card and no browser: both halves of a sampling with classifier-free guidance, at full size, on random weights.
`draw` needs a running ComfyUI with the pack, playwright and a Chromium, and no card.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from pack import load_host
from page import FLAGS, open_page
from sampler import random_model

VIEW = {"width": 1660, "height": 1080}
FRAME = {"x": 56, "y": 92, "width": 1604, "height": 870}  # of the view, clear of the page's menus
BUILD = """payloads => {
    const { graph, canvas } = window.app;
    graph.clear();
    payloads.forEach((payload, index) => {
        const make = (type, x, y, width, height) => {
            const node = window.LiteGraph.createNode(type);
            node.pos = [x, y];
            graph.add(node);
            node.setSize([width, height]);
            return node;
        };
        const backend = make("WanAttnBackend", 0, 410 * index, 300, 370);
        const panel = make("WanAttnDiagnostics", 330 + 640 * index, 0, 610, 800);
        backend.connect(0, panel, 0);
        payload.places = { backend: String(backend.id), panel: String(panel.id) };
    });
    Object.assign(canvas.ds, { scale: 1, offset: [70, 130] });
    canvas.setDirty(true, true);
    return payloads.map(({ places }) => places);
}"""
SEND = """async payloads => {
    const { api } = await import("/scripts/api.js");
    for (const payload of payloads) api.dispatchCustomEvent("wanattn.update", payload);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    jobs = parser.add_subparsers(required=True)
    job = jobs.add_parser("run")
    job.add_argument("output", type=Path)
    job.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    job.add_argument("--size", default="832x480")
    job.add_argument("--frames", type=int, default=81)
    job.add_argument("--steps", type=int, default=20)
    job.add_argument("--layers", type=int)
    job.add_argument("--device", default="cuda")
    job.set_defaults(run=sampled)
    job = jobs.add_parser("draw")
    job.add_argument("payloads", type=Path)
    job.add_argument("picture", type=Path)
    job.add_argument("--address", default="http://127.0.0.1:8188")
    job.set_defaults(run=drawn)
    options = parser.parse_args()
    options.run(options)


def sampled(options) -> None:
    load_host(options.comfyui, options.device == "cpu")
    from wanattn.attention.wan import Video

    video = Video.of(options.size, options.frames)
    model = random_model(torch.device(options.device), options.layers)
    half, latent, payloads = options.steps // 2, torch.zeros(1, 16, *video.latent), []
    for node, first, last in (("3", 0, half), ("6", half, options.steps)):
        latent, payload = expert(model, node, options.steps, first, last, latent)
        payloads.append(payload)
        print(
            f"{payload['requested']} -> {payload['totals']}, gain {payload.get('gain')}", flush=True
        )
    options.output.write_text(json.dumps(payloads), encoding="utf-8")


def expert(model, node: str, steps: int, first: int, last: int, latent):
    """One half of the steps through Attention Backend and Diagnostics, and what the panel would show of it."""
    import comfy.sample
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.host.patch import patch, watch
    from wanattn.nodes.host.report.payload import build
    from wanattn.nodes.report import chosen_tap

    patched = watch(patch(model, Policy("auto"), f"{node}0"), node)
    generator = torch.Generator().manual_seed(0)
    texts = [[[torch.randn(1, 512, 4096, generator=generator), {}]] for _ in range(2)]
    noise = comfy.sample.prepare_noise(latent, 0) if first == 0 else torch.zeros_like(latent)
    given = (noise, steps, 4.0, "euler", "simple", *texts, latent)
    part = {"start_step": first, "last_step": last, "disable_noise": first > 0}
    part["force_full_denoise"] = last == steps
    with torch.inference_mode():
        out = comfy.sample.sample(patched, *given, seed=0, disable_pbar=True, **part)
    tap = chosen_tap(patched)
    snapshot = tap.recorder.snapshot()
    payload = build(tap.facts(["random weights", *tap.all_notes()], snapshot), snapshot)
    return out.cpu(), payload


def drawn(options) -> None:
    from playwright.sync_api import sync_playwright

    payloads = json.loads(options.payloads.read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = open_page(browser, options.address)
        page.set_viewport_size(VIEW)
        page.evaluate(
            "() => window.app.extensionManager.setting.set('Comfy.Minimap.Visible', false)"
        )
        page.keyboard.press("Escape")  # the templates that a new user is shown
        places = page.evaluate(BUILD, payloads)
        told = [
            {**payload, "node": node, "grid": payload["grid"] if name == "panel" else None}
            for payload, found in zip(payloads, places, strict=True)
            for name, node in found.items()
        ]
        page.evaluate(SEND, told)
        page.wait_for_timeout(1500)
        page.screenshot(path=options.picture, clip=FRAME)
        browser.close()


if __name__ == "__main__":
    main()
