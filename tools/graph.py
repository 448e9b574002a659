"""A workflow in ComfyUI's graph format, built node by node."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field

VERSIONS = {
    "comfy-core": "0.8.0",
    "wanattn": "0.1.0",
    "ComfyUI-WanVideoWrapper": "1.4.7",
    "raylight": "1.5.1",
}
PACKS = {
    "WanAttn": "wanattn",
    "WanVideo": "ComfyUI-WanVideoWrapper",
    "Ray": "raylight",
    "XFuser": "raylight",
}
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
    "LoraLoaderModelOnly": ("model:MODEL", "MODEL:MODEL"),
    "KSampler": (
        "model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT",
        "LATENT:LATENT",
    ),
    "LoadImage": ("", "IMAGE:IMAGE MASK:MASK"),
    "WanImageToVideo": (
        "positive:CONDITIONING negative:CONDITIONING vae:VAE clip_vision_output:CLIP_VISION_OUTPUT start_image:IMAGE",
        "positive:CONDITIONING negative:CONDITIONING latent:LATENT",
    ),
    "Wan22ImageToVideoLatent": ("vae:VAE start_image:IMAGE", "LATENT:LATENT"),
    "ImageStitch": ("image1:IMAGE image2:IMAGE", "IMAGE:IMAGE"),
    "PreviewImage": ("images:IMAGE", ""),
    "FrameInterpolationModelLoader": ("", "INTERP_MODEL:INTERP_MODEL"),
    "FrameInterpolate": ("interp_model:INTERP_MODEL images:IMAGE", "IMAGE:IMAGE"),
    "VAEDecode": ("samples:LATENT vae:VAE", "IMAGE:IMAGE"),
    "CreateVideo": ("images:IMAGE audio:AUDIO", "VIDEO:VIDEO"),
    "SaveVideo": ("video:VIDEO", ""),
    "MarkdownNote": ("", ""),
    "WanAttnBackend": ("model:MODEL rules:WANATTN_RULES", "MODEL:MODEL"),
    "WanAttnDiagnostics": ("model:MODEL", "MODEL:MODEL"),
    "WanVideoModelLoader": ("", "model:WANVIDEOMODEL"),
    "WanVideoTextEmbedBridge": (
        "positive:CONDITIONING negative:CONDITIONING",
        "text_embeds:WANVIDEOTEXTEMBEDS",
    ),
    "WanVideoEmptyEmbeds": ("", "image_embeds:WANVIDIMAGE_EMBEDS"),
    "WanVideoSampler": (
        "model:WANVIDEOMODEL image_embeds:WANVIDIMAGE_EMBEDS text_embeds:WANVIDEOTEXTEMBEDS samples:LATENT",
        "samples:LATENT denoised_samples:LATENT",
    ),
    "WanVideoVAELoader": ("", "vae:WANVAE"),
    "WanVideoDecode": ("vae:WANVAE samples:LATENT", "images:IMAGE"),
    "WanAttnWrapperBackend": ("model:WANVIDEOMODEL rules:WANATTN_RULES", "model:WANVIDEOMODEL"),
    "WanAttnWrapperDiagnostics": ("model:WANVIDEOMODEL", "model:WANVIDEOMODEL"),
    "RayInitializer": ("", "ray_actors_init:RAY_ACTORS_INIT"),
    "RayUNETLoader": ("ray_actors_init:RAY_ACTORS_INIT lora:RAY_LORA", "ray_actors:RAY_ACTORS"),
    "XFuserKSamplerAdvanced": (
        "ray_actors:RAY_ACTORS positive:CONDITIONING negative:CONDITIONING latent_image:LATENT",
        "latent:LATENT ray_actors:RAY_ACTORS",
    ),
    "WanAttnRayBackend": (
        "ray_actors:RAY_ACTORS rules:WANATTN_RULES",
        "ray_actors:RAY_ACTORS",
    ),
    "WanAttnRayReport": (
        "ray_actors:RAY_ACTORS",
        "ray_actors:RAY_ACTORS report:STRING picture:IMAGE",
    ),
    "WanAttnReport": ("model:MODEL after:*", "after:LATENT report:STRING picture:IMAGE"),
}


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
        return self.place(kind, *SLOTS[kind], at, size, *values, **extra)

    def place(
        self,
        kind: str,
        given: str,
        made: str,
        at: tuple[int, int],
        size: tuple[int, int],
        *values,
        **extra,
    ) -> Node:
        inputs, outputs = slots(given), slots(made)
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
    pack = next((p for start, p in PACKS.items() if kind.startswith(start)), "comfy-core")
    facts = {"cnr_id": pack, "ver": VERSIONS[pack], "Node name for S&R": kind}
    return {**facts, "models": models} if models else facts


def render(data: dict) -> str:
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"
