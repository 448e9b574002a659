"""Writes example_workflows/ in ComfyUI's graph format: python tools/make_workflows.py."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "example_workflows"
VERSIONS = {"comfy-core": "0.8.0", "wanattn": "0.1.0"}
FILES = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files"
ENCODERS = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"

# type: (linked inputs, outputs), each as "name:TYPE"; widgets are given as values when a node is added
SLOTS = {
    "UNETLoader": ("", "MODEL:MODEL"),
    "CLIPLoader": ("", "CLIP:CLIP"),
    "VAELoader": ("", "VAE:VAE"),
    "CLIPTextEncode": ("clip:CLIP", "CONDITIONING:CONDITIONING"),
    "EmptyHunyuanLatentVideo": ("", "LATENT:LATENT"),
    "ModelSamplingSD3": ("model:MODEL", "MODEL:MODEL"),
    "KSamplerAdvanced": (
        "model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT",
        "LATENT:LATENT",
    ),
    "VAEDecode": ("samples:LATENT vae:VAE", "IMAGE:IMAGE"),
    "CreateVideo": ("images:IMAGE audio:AUDIO", "VIDEO:VIDEO"),
    "SaveVideo": ("video:VIDEO", ""),
    "MarkdownNote": ("", ""),
    "WanAttnBackend": ("model:MODEL rules:WANATTN_RULES", "MODEL:MODEL"),
    "WanAttnDiagnostics": ("model:MODEL", "MODEL:MODEL"),
    "WanAttnReport": ("model:MODEL after:*", "after:LATENT report:STRING picture:IMAGE"),
}

POSITIVE = (
    "A lighthouse keeper in a yellow raincoat climbs a spiral stair with a brass lantern, rain on "
    "the windows, warm light moving along the stone wall, slow steady camera rising with him, "
    "photographic, natural grain."
)
NEGATIVE = (
    "still image, frozen motion, overexposed, washed out, blurred details, subtitles, watermark, "
    "compression artefacts, deformed hands, extra fingers, extra limbs, crowded background"
)
NOTE = """## Which attention runs, one answer for each expert

Wan 2.2 14B is two models. Each has its own **Attention Backend** and **Attention Diagnostics**.

- **Attention Backend** sends every attention call of that model to the backend you choose. `auto` is a good start.
- **Attention Diagnostics** shows on the node what ran. It changes nothing: bypass Attention Backend to see ComfyUI's own choice.
- **Attention Run Report** passes the latent on, and writes a JSON and a CSV file to the output folder. It sits before VAE Decode, so that the saved video carries what ran.

A LoRA goes between the loader and Attention Backend, or after it: both work.
"""


@dataclass(frozen=True, eq=False)
class Node:
    id: int
    type: str
    data: dict

    def slot(self, side: str, name: str) -> int:
        return [slot["name"] for slot in self.data[side]].index(name)


@dataclass
class Graph:
    name: str
    nodes: list[Node] = field(default_factory=list)
    links: list[list] = field(default_factory=list)
    groups: list[dict] = field(default_factory=list)

    def add(self, kind: str, at: tuple[int, int], size: tuple[int, int], *values, **extra) -> Node:
        """Places a node; values are its widgets in order, extra goes into the node as it is."""
        inputs, outputs = (slots(text) for text in SLOTS[kind])
        number = len(self.nodes) + 1
        data = {
            "id": number,
            "type": kind,
            "pos": list(at),
            "size": list(size),
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [{**slot, "link": None} for slot in inputs],
            "outputs": [{**slot, "links": []} for slot in outputs],
            "properties": properties(kind, extra.pop("models", None)),
            "widgets_values": list(values),
            **extra,
        }
        self.nodes.append(Node(number, kind, data))
        return self.nodes[-1]

    def link(self, source: Node, output: str, target: Node, name: str) -> None:
        start, end = source.slot("outputs", output), target.slot("inputs", name)
        kind = source.data["outputs"][start]["type"]
        number = len(self.links) + 1
        self.links.append([number, source.id, start, target.id, end, kind])
        source.data["outputs"][start]["links"].append(number)
        target.data["inputs"][end]["link"] = number

    def group(self, title: str, x: int, y: int, width: int, height: int) -> None:
        box = {"id": len(self.groups) + 1, "title": title, "bounding": [x, y, width, height]}
        self.groups.append({**box, "color": "#3f789e", "font_size": 24, "flags": {}})

    def data(self) -> dict:
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, self.name)),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": [node.data for node in self.nodes],
            "links": self.links,
            "groups": self.groups,
            "config": {},
            "extra": {},
            "version": 0.4,
        }


def slots(text: str) -> list[dict]:
    return [dict(zip(("name", "type"), slot.split(":"), strict=True)) for slot in text.split()]


def properties(kind: str, models: list[dict] | None) -> dict:
    if kind == "MarkdownNote":
        return {}
    pack = "wanattn" if kind.startswith("WanAttn") else "comfy-core"
    facts = {"cnr_id": pack, "ver": VERSIONS[pack], "Node name for S&R": kind}
    return {**facts, "models": models} if models else facts


def model_file(name: str, directory: str, base: str = FILES) -> dict:
    return {"name": name, "url": f"{base}/{directory}/{name}", "directory": directory}


def expert(graph: Graph, noise: str, y: int, sampling: list) -> tuple[Node, Node]:
    """One of the two 14B models: its loader, our nodes, its sampler; returns sampler and report."""
    file = model_file(f"wan2.2_t2v_{noise}_noise_14B_fp8_scaled.safetensors", "diffusion_models")
    loader = graph.add("UNETLoader", (0, y), (380, 90), file["name"], "default", models=[file])
    backend = graph.add("WanAttnBackend", (420, y), (300, 190), "auto", "next best", "exact", 0.03)
    watch = graph.add("WanAttnDiagnostics", (760, y), (560, 560), "sample", "", 4.0)
    shift = graph.add("ModelSamplingSD3", (1360, y), (240, 70), 5.0)
    sampler = graph.add("KSamplerAdvanced", (1640, y), (320, 340), *sampling)
    report = graph.add("WanAttnReport", (2000, y), (480, 560), f"wanattn/{noise}_noise")
    graph.link(loader, "MODEL", backend, "model")
    graph.link(backend, "MODEL", watch, "model")
    graph.link(watch, "MODEL", shift, "model")
    graph.link(shift, "MODEL", sampler, "model")
    graph.link(watch, "MODEL", report, "model")
    graph.group(f"{noise.capitalize()} noise expert", -20, y - 70, 2520, 660)
    return sampler, report


def prompts(graph: Graph, y: int) -> tuple[Node, Node]:
    name = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    file = model_file(name, "text_encoders", ENCODERS)
    clip = graph.add("CLIPLoader", (0, y), (380, 110), name, "wan", "default", models=[file])
    positive = graph.add("CLIPTextEncode", (420, y), (480, 180), POSITIVE, title="Prompt")
    negative = graph.add("CLIPTextEncode", (940, y), (480, 180), NEGATIVE, title="Negative prompt")
    graph.link(clip, "CLIP", positive, "clip")
    graph.link(clip, "CLIP", negative, "clip")
    return positive, negative


def video(graph: Graph, latent: Node, y: int) -> None:
    name = "wan_2.1_vae.safetensors"
    file = model_file(name, "vae")
    vae = graph.add("VAELoader", (0, y + 30), (380, 70), name, models=[file])
    decode = graph.add("VAEDecode", (2000, y - 150), (240, 60))
    create = graph.add("CreateVideo", (2260, y - 150), (240, 90), 16.0)
    save = graph.add("SaveVideo", (2560, 0), (560, 660), "video/wanattn", "auto", "auto")
    graph.link(latent, "after", decode, "samples")
    graph.link(vae, "VAE", decode, "vae")
    graph.link(decode, "IMAGE", create, "images")
    graph.link(create, "VIDEO", save, "video")


def text_to_video() -> Graph:
    """Wan 2.2 14B, 640 x 640, 81 frames, 20 steps split at 10, cfg 3.5, as the official template."""
    graph = Graph("wan2.2_14B_t2v_attention")
    common = [20, 3.5, "euler", "simple"]
    first, high = expert(graph, "high", 0, ["enable", 7, "fixed", *common, 0, 10, "enable"])
    second, low = expert(graph, "low", 720, ["disable", 7, "fixed", *common, 10, 20, "disable"])
    positive, negative = prompts(graph, 1400)
    latent = graph.add("EmptyHunyuanLatentVideo", (1640, 1400), (320, 140), 640, 640, 81, 1)
    for sampler, start in ((first, latent), (second, first)):
        graph.link(positive, "CONDITIONING", sampler, "positive")
        graph.link(negative, "CONDITIONING", sampler, "negative")
        graph.link(start, "LATENT", sampler, "latent_image")
    graph.link(second, "LATENT", high, "after")
    graph.link(high, "after", low, "after")
    video(graph, low, 1550)
    graph.add("MarkdownNote", (-480, 0), (440, 480), NOTE)
    return graph


WORKFLOWS = (text_to_video,)


def render(graph: Graph) -> str:
    return json.dumps(graph.data(), indent=1, ensure_ascii=True) + "\n"


def main() -> None:
    for graph in (make() for make in WORKFLOWS):
        path = FOLDER / f"{graph.name}.json"
        path.write_text(render(graph), encoding="utf-8", newline="\n")
        print(path.name)


if __name__ == "__main__":
    main()
