"""What several workflows share: where their files are, and the prompts."""

from __future__ import annotations

from .graph import Graph, Node

FILES = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files"
ENCODERS = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
POSITIVE = (
    "A lighthouse keeper in a yellow raincoat climbs a spiral stair with a brass lantern, rain on "
    "the windows, warm light moving along the stone wall, slow steady camera rising with him, "
    "photographic, natural grain."
)
NEGATIVE = (
    "still image, frozen motion, overexposed, washed out, blurred details, subtitles, watermark, "
    "compression artefacts, deformed hands, extra fingers, extra limbs, crowded background"
)


def model_file(name: str, directory: str, base: str = FILES) -> dict:
    return {"name": name, "url": f"{base}/{directory}/{name}", "directory": directory}


def prompts(graph: Graph, y: int) -> tuple[Node, Node]:
    name = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    file = model_file(name, "text_encoders", ENCODERS)
    clip = graph.add("CLIPLoader", (0, y), (380, 110), name, "wan", "default", models=[file])
    positive = graph.add("CLIPTextEncode", (420, y), (480, 180), POSITIVE, title="Prompt")
    negative = graph.add("CLIPTextEncode", (940, y), (480, 180), NEGATIVE, title="Negative prompt")
    graph.link(clip, "CLIP", positive, "clip")
    graph.link(clip, "CLIP", negative, "clip")
    return positive, negative
