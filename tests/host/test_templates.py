"""The official Wan workflows, flattened by the host's own page, run in the real server with tiny checkpoints.

In CI the first of each kind of model; all of them with WANATTN_TEMPLATES=all in the environment. Not among them: key frames
and the looped restyler, whose pictures come from models that are not Wan.

    WANATTN_TEMPLATES=all python tests/host/run.py tests/host/test_templates.py -q
"""

from __future__ import annotations

import json
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from wanattn.tests.host import panel_page, templates
from wanattn.tests.host.test_bench_templates import EXPORT
from wanattn.tests.host.workbench import read_report

FIRST = [
    "video_wan2_2_14B_t2v",
    "video_wan2_2_14B_i2v",
    "video_wan2_2_5B_ti2v",
    "video_wan_vace_14B_t2v",
    "video_wan2_2_14B_fun_camera",
    "image_to_video_wan",
    "wan2.1_fun_control",
    "video_wan2_1_infinitetalk",
    "video_humo",
    "video_causal_forcing_i2v",
]
REST = [
    "text_to_video_wan",
    "wan2.1_flf2v_720_f16",
    "wan2.1_fun_inp",
    "video_wan_ati",
    "video_wan2_2_14B_fun_inpaint",
    "video_wan2_2_14B_fun_control",
    "video_wan2_2_14B_flf2v",
    "video_wan2_2_5B_fun_control",
    "video_wan2_2_5B_fun_inpaint",
    "video_wan_vace_flf2v",
    "video_wan_vace_14B_ref2v",
    "video_wan_vace_14B_v2v",
    "video_wan_vace_inpainting",
    "video_wan_vace_outpainting",
    "video_wan2.1_fun_camera_v1.1_14B",
    "video_wan2.1_fun_camera_v1.1_1.3B",
    "video_wan2.1_alpha_t2v_14B",
    "video_wan2_2_14B_s2v",
    "video_bernini_r_image_editing",
    "video_bernini_r_video_editing",
    "video_wan21_scail2_character_replacement",
    "video_wan21_scail2_character_replacement_int8",
    "video_wan_animate2",
    "video_wan_animate2_distilled",
    "video_wan_dancer",
    "video_wanmove_480p",
    "image_chrono_edit_14B",
]
# By a word in the name of the workflow: what its model has beside self-attention and text.
ROLES = {
    "infinitetalk": "speech",
    "humo": "audio",
    "s2v": "audio",
    "vace": "vace",
    "dancer": "music",
    "causal": "self",
}
NAMES = FIRST + REST if os.environ.get("WANATTN_TEMPLATES") == "all" else FIRST


@pytest.fixture(scope="module")
def tiny_models(server):
    """Every kind's checkpoint, where the server looks for it."""
    from wanattn.tests.host import kinds, model_patches

    folder = server.base / "models" / "diffusion_models"
    for name in kinds.KINDS:
        if not kinds.missing(name):
            kinds.save(folder, name)
    if find_spec("comfy.ldm.wan.model_multitalk"):  # older hosts have none
        model_patches.save_speech(server.base / "models" / "model_patches")


@pytest.fixture(scope="module")
def exported(server, browser):
    package = pytest.importorskip("comfyui_workflow_templates_json", reason="no templates")
    page = browser.new_page()
    page.goto(f"http://{server.address}/")
    page.wait_for_function(panel_page.READY, timeout=60_000)

    def exported(name):
        files = [path for root in package.__path__ for path in Path(root).rglob(f"{name}.json")]
        if not files:
            pytest.skip(f"the installed templates have no {name}")
        prompt = page.evaluate(EXPORT, json.loads(files[0].read_text("utf-8")))
        if not all(node["class_type"] for node in prompt.values()):
            pytest.skip(f"this ComfyUI is older than some nodes of {name}")
        return prompt

    yield exported
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_template_tells_the_calls_it_made(server, exported, tiny_models, name):
    role = next((role for word, role in ROLES.items() if word in name), "text")
    prompt, keys = templates.shrunk(exported(name), f"templates/{name}", role)
    assert keys, "no sampler that the test knows"

    server.run(prompt)

    for key in keys:
        path = server.output / f"{key}.counted.json"
        made = json.loads(path.read_text("utf-8"))
        lines = read_report(server.output, key).lines
        assert {call["kernel"] for call in made if of(role, call)} == {"flash"}
        assert {call["kernel"] for call in made if not of(role, call)} == {"math"}
        facts = [
            tuple(
                "" if call[fact] is None else str(call[fact])
                for fact in ("role", "block", "kernel")
            )
            for call in made
        ]
        assert Counter((line["role"], line["block"], line["active"]) for line in lines) == Counter(
            facts
        )


def of(role: str, call: dict) -> bool:
    return call["role"].partition(" ")[0] == role
