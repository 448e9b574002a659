"""The workflow of WanVideoWrapper's own nodes."""

from __future__ import annotations

from .graph import Graph, Node
from .parts import model_file, prompts

BOTH = "MODEL,WANVIDEOMODEL"  # as the page knows the report where the wrapper is there
WRAPPER_NOTE = """## Which attention runs in WanVideoWrapper

The nodes of [WanVideoWrapper](https://github.com/kijai/ComfyUI-WanVideoWrapper) with one answer for each expert of Wan 2.2 14B.

- **Attention Backend (WanVideoWrapper)** sends every attention call to the backend you choose, whatever *attention_mode* says.
- **Attention Diagnostics (WanVideoWrapper)** shows what ran. Bypass Attention Backend to see the wrapper's own mode.
- Block swap, LoRA and torch.compile settings go into the loader, as ever.
"""


def wrapped(name: str) -> Graph:
    """Wan 2.2 14B by WanVideoWrapper's own loader and sampler, 832 x 480, 81 frames."""
    graph = Graph(name)
    bridge = graph.add("WanVideoTextEmbedBridge", (1640, 1400), (260, 60))
    for source, slot in zip(prompts(graph, 1400), ("positive", "negative"), strict=True):
        graph.link(source, "CONDITIONING", bridge, slot)
    size = graph.add("WanVideoEmptyEmbeds", (1640, 1520), (260, 110), 832, 480, 81)
    first, report = expert_of_wrapper(graph, "high", 0, [0, 10])
    second, last = expert_of_wrapper(graph, "low", 700, [10, -1])
    for sampler in (first, second):
        graph.link(bridge, "text_embeds", sampler, "text_embeds")
        graph.link(size, "image_embeds", sampler, "image_embeds")
    graph.link(first, "samples", report, "after")
    graph.link(report, "after", second, "samples")
    graph.link(second, "samples", last, "after")
    images = decoded_by_wrapper(graph, last)
    create = graph.add("CreateVideo", (2800, 1400), (240, 90), 16.0)
    save = graph.add("SaveVideo", (3080, 0), (560, 660), "video/wanattn", "auto", "auto")
    graph.link(images, "images", create, "images")
    graph.link(create, "VIDEO", save, "video")
    graph.add("MarkdownNote", (-480, 0), (440, 360), WRAPPER_NOTE)
    return graph


def expert_of_wrapper(graph: Graph, noise: str, y: int, span: list[int]) -> tuple[Node, Node]:
    """Loader, backend, panel, sampler of the steps in `span`, and a report."""
    file = model_file(f"wan2.2_t2v_{noise}_noise_14B_fp8_scaled.safetensors", "diffusion_models")
    loading = (file["name"], "bf16", "fp8_e4m3fn_scaled", "offload_device", "sdpa", "default")
    kind = "WanVideoModelLoader"
    model = graph.add(kind, (0, y), (380, 260), *loading, models=[file])
    chosen = ("auto", "next best", "exact", 0.03, "keep their kernels")
    choice = graph.add("WanAttnWrapperBackend", (420, y), (320, 330), *chosen)
    shown = ("sample", "", 4.0)
    watch = graph.add("WanAttnWrapperDiagnostics", (780, y), (560, 560), *shown)
    sampling = (20, 3.5, 8.0, 42, "fixed", True, "euler", 0, 1.0, False, "comfy", *span, False)
    sampler = graph.add("WanVideoSampler", (1640, y), (320, 660), *sampling)
    report = graph.add("WanAttnReport", (2000, y), (480, 560), f"wanattn/{noise}_noise")
    report.data["inputs"][0]["type"] = BOTH
    graph.link(model, "model", choice, "model")
    graph.link(choice, "model", watch, "model")
    for target in (sampler, report):
        graph.link(watch, "model", target, "model")
    return sampler, report


def decoded_by_wrapper(graph: Graph, report: Node) -> Node:
    name = "wan_2.1_vae.safetensors"
    kind, file = "WanVideoVAELoader", model_file("wan_2.1_vae.safetensors", "vae")
    vae = graph.add(kind, (0, 1580), (380, 130), name, "bf16", False, False, models=[file])
    decode = graph.add(
        "WanVideoDecode", (2500, 1400), (260, 180), False, 272, 272, 144, 128, "default"
    )
    graph.link(vae, "vae", decode, "vae")
    graph.link(report, "after", decode, "samples")
    return decode
