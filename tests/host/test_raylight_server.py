"""Our template for Raylight in the real page and server, on two ranks without GPUs: its report is what was counted there."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from wanattn.tests.host import packs
from wanattn.tests.host.ray_actors import PATH, placed, skip_without_raylight
from wanattn.tests.host.server import free_port
from wanattn.tests.host.test_page_templates import MISSING, OPEN, PROMPT
from wanattn.tests.host.test_page_templates import runnable as small
from wanattn.tests.host.test_page_wiring import COMMAND
from wanattn.tests.host.workbench import read_report

NAME = "wan2.2_5B_raylight_attention"
BLOCKS, STEPS = 2, 4
CALLS = 2 * BLOCKS * STEPS
BACKEND, SAMPLER = "WanAttnRayBackend", "XFuserKSamplerAdvanced"


def prepared(base: Path) -> dict[str, str]:
    """Puts the pack, Raylight and the template's model into a server's folder; returns what its environment needs."""
    from wanattn.tests.host import tiny
    from wanattn.tests.host.server import install_nodes

    skip_without_raylight()
    install_nodes(base)
    (base / "custom_nodes" / "raylight.py").symlink_to(PATH / "raylight_on_cpus.py")
    models = base / "models" / "diffusion_models"
    models.mkdir(parents=True)
    tiny.save_wan(models, "ti2v_5b", 1, "wan2.2_ti2v_5B_fp16")
    source = packs.folder() / "raylight"
    folders = (PATH, source / "src", packs.folder() / ".site", os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(map(str, folders))
    return {"PYTHONPATH": path, "RAYLIGHT_FOLDER": str(source), "MASTER_PORT": str(free_port())}


@pytest.fixture(scope="module")
def server(comfy, tmp_path_factory):
    from wanattn.tests.host.conftest import HOST
    from wanattn.tests.host.server import Server, serving

    base = tmp_path_factory.mktemp("comfyui")
    with serving(Server(HOST, base, prepared(base))) as server:
        assert not server.failed_imports()
        yield server


@pytest.fixture(scope="module")
def page(server, browser):
    """The template, loaded in the page."""
    from wanattn.tests.host.panel_page import settle

    page = browser.new_page(viewport={"width": 1640, "height": 960})
    page.goto(f"http://{server.address}/", wait_until="domcontentloaded")
    settle(page)
    page.evaluate(OPEN, server.get(f"/api/workflow_templates/wanattn/{NAME}.json"))
    return page


def node(prompt: dict, kind: str) -> dict:
    return next(each["inputs"] for each in prompt.values() if each["class_type"] == kind)


def runnable(page, seed: int) -> dict:
    prompt = small(page.evaluate(PROMPT))
    node(prompt, "RayInitializer")["skip_comm_test"] = True  # asks for NCCL
    node(prompt, SAMPLER)["noise_seed"] = seed
    return prompt


def told_and_counted(server, prompt: dict) -> tuple[dict, list[Counter], list[Counter]]:
    server.run(prompt)
    report = read_report(server.output, "wanattn/raylight")
    calls = json.loads((server.output / "counted.json").read_text())
    told = [Counter(), Counter()]
    for line in report.lines:
        told[int(line["rank"])][line["role"], line["block"], line["step"], line["active"]] += 1
    return report.payload, told, [Counter(map(placed, each)) for each in calls]


def test_the_template_loads_in_the_page_and_each_rank_is_told_as_it_was_counted(server, page):
    assert page.evaluate(MISSING) == []
    server.run(runnable(page, 1))  # measures for `auto`
    payload, told, counted = told_and_counted(server, runnable(page, 2))
    assert told == counted
    assert [sum(each.values()) for each in counted] == [CALLS] * 2
    assert payload["state"] == "finished"
    assert payload["requested"] == "auto"
    assert [each["mode"] for each in payload["devices"]] == ["Ulysses 2"] * 2


def test_math_and_a_rule_are_counted_there_too(server, page):
    prompt = runnable(page, 3)
    rule = {"role": "text", "blocks": "1", "steps": "2-3", "backend": "flash"}
    prompt["rule"] = {"class_type": "WanAttnRule", "inputs": rule}
    node(prompt, BACKEND).update(backend="math", rules=["rule", 0])
    payload, told, counted = told_and_counted(server, prompt)
    assert told == counted
    assert counted[0] == counted[1]
    ruled = {place for place in counted[0] if place[3] == "flash"}
    assert ruled == {("text", "1", "2", "flash"), ("text", "1", "3", "flash")}
    assert sum(counted[0].values()) == CALLS
    assert set(payload["totals"]) == {"flash", "math"}


def test_the_command_wires_actors_and_the_backend_says_where_to_look(server, page):
    before = page.evaluate(PROMPT)
    page.evaluate(COMMAND, "remove")
    bare = page.evaluate(PROMPT)
    assert not [each for each in bare.values() if each["class_type"].startswith("WanAttn")]
    page.evaluate(COMMAND, "addAll")
    wired = page.evaluate(PROMPT)
    assert node(wired, BACKEND)["ray_actors"] == node(bare, SAMPLER)["ray_actors"]
    (key,) = [key for key, each in wired.items() if each["class_type"] == SAMPLER]
    assert node(wired, "WanAttnRayReport")["ray_actors"] == [key, 1]
    names = ("backend", "on_refusal", "precision", "max_error")
    same = [{name: node(each, BACKEND)[name] for name in names} for each in (before, wired)]
    assert same[0] == same[1]
    line = page.locator(".wanattn.line").first.inner_text()
    assert "What ran on each GPU: in Attention Report (Raylight)" in line
    assert "Will time every kernel" in line
