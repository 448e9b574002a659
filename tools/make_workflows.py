"""Writes example_workflows/ and subgraphs/ in ComfyUI's graph format: python -m tools.make_workflows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .blueprint import WATCHED_MODEL, blueprint
from .graph import Graph, Node, render
from .parts import model_file, prompts
from .wrapper_workflow import wrapped

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "example_workflows"
BLUEPRINTS = ROOT / "subgraphs"
INTERPOLATION = "https://huggingface.co/Comfy-Org/frame_interpolation/resolve/main"

NOTE = """## Which attention runs, one answer for each expert

Wan 2.2 14B is two models. Each has its own **Attention Backend** and **Attention Diagnostics**.

- **Attention Backend** sends every attention call of that model to the backend you choose. `auto` is a good start.
- **Attention Diagnostics** shows on the node what ran. It changes nothing: bypass Attention Backend to see ComfyUI's own choice.
- **Attention Run Report** passes the latent on, and writes a JSON, a CSV and an HTML file to the output folder. It sits before VAE Decode, so that the saved video carries what ran.

A LoRA goes between the loader and Attention Backend, or after it: both work.
"""
COMPARE_NOTE = """## The same seed through two backends

Both rows have the same model, prompt, seed and size; only **Attention Backend** differs. `host` is what ComfyUI runs by itself.

- The two **Attention Run Report** pictures are put under one another in *Preview Image*.
- The two videos are put side by side in *Save Video*: exact backends look alike, an approximate one may drift.
- The panels show milliseconds a call and seconds a step of each.
"""
RAY_NOTE = """## One model on two GPUs, and what each of them ran

Needs [Raylight](https://github.com/komikndr/raylight) with Ray and xDiT, and two GPUs.

- **Attention Backend (Raylight)** sends every attention call on each GPU to the backend you choose. `auto` measures once for a kind of card.
- **Attention Report (Raylight)** comes after the sampler: a column for each rank, the slowest named, and a JSON, a CSV and an HTML file.

Set `ulysses_degree` to 1 and `cfg_degree` to 2 to give each GPU one of the two prompts instead.
"""
STEPS = {"20 steps": [20, 3.5, 10], "4 steps": [4, 1.0, 2]}  # steps, cfg, first of the low noise
LORAS = {"t2v": "wan2.2_t2v_lightx2v_4steps_lora_v1.1", "i2v": "wan2.2_i2v_lightx2v_4steps_lora_v1"}


def load(graph: Graph, name: str, at: tuple[int, int]) -> Node:
    file = model_file(name, "diffusion_models")
    return graph.add("UNETLoader", at, (380, 90), name, "default", models=[file])


def with_lora(graph: Graph, model: Node, name: str, at: tuple[int, int]) -> Node:
    file = model_file(name, "loras")
    lora = graph.add("LoraLoaderModelOnly", at, (380, 90), name, 1.0, models=[file])
    graph.link(model, "MODEL", lora, "model")
    return lora


def watched(
    graph: Graph, model: Node, y: int, prefix: str, backend: str = "auto"
) -> tuple[Node, Node]:
    """Backend, panel and report of a model; returns the node that the sampler takes it from, and the report."""
    choice = graph.add(
        "WanAttnBackend",
        (420, y),
        (320, 360),
        backend,
        "next best",
        "exact",
        0.03,
        "keep their kernels",
    )
    watch = graph.add("WanAttnDiagnostics", (780, y), (560, 560), "sample", "", 4.0)
    report = graph.add("WanAttnReport", (2000, y), (480, 560), prefix)
    graph.link(model, "MODEL", choice, "model")
    graph.link(choice, "MODEL", watch, "model")
    graph.link(watch, "MODEL", report, "model")
    return watch, report


def sampled(graph: Graph, kind: str, model: Node, y: int, shift: float, widgets: list) -> Node:
    shifted = graph.add("ModelSamplingSD3", (1360, y), (240, 70), shift)
    sampler = graph.add(kind, (1640, y), (320, 340), *widgets)
    graph.link(model, "MODEL", shifted, "model")
    graph.link(shifted, "MODEL", sampler, "model")
    return sampler


def experts(graph: Graph, task: str, pace: str) -> tuple[Node, Node, Node]:
    """Both 14B models, the second going on where the first stops; returns their samplers and the last report."""
    steps, cfg, split = STEPS[pace]
    common = [steps, cfg, "euler", "simple"]
    samplers, reports = [], []
    for noise, y, sampling in (
        ("high", 0, ["enable", 7, "fixed", *common, 0, split, "enable"]),
        ("low", 720, ["disable", 7, "fixed", *common, split, steps, "disable"]),
    ):
        model = load(graph, f"wan2.2_{task}_{noise}_noise_14B_fp8_scaled.safetensors", (0, y))
        if pace == "4 steps":
            name = f"{LORAS[task]}_{noise}_noise.safetensors"
            model = with_lora(graph, model, name, (0, y + 150))
        model, report = watched(graph, model, y, f"wanattn/{noise}_noise")
        samplers.append(sampled(graph, "KSamplerAdvanced", model, y, 5.0, sampling))
        reports.append(report)
        graph.group(f"{noise.capitalize()} noise expert", -20, y - 70, 2520, 660)
    graph.link(samplers[0], "LATENT", samplers[1], "latent_image")
    graph.link(samplers[1], "LATENT", reports[0], "after")
    graph.link(reports[0], "after", reports[1], "after")
    return samplers[0], samplers[1], reports[1]


def conditioned(graph: Graph, samplers: tuple[Node, ...], sources: tuple[tuple[Node, str], ...]):
    for sampler in samplers:
        for (source, output), name in zip(sources, ("positive", "negative"), strict=True):
            graph.link(source, output, sampler, name)


def vae_loader(graph: Graph, name: str, y: int) -> Node:
    return graph.add("VAELoader", (0, y), (380, 70), name, models=[model_file(name, "vae")])


def decoded(graph: Graph, report: Node, vae: Node, at: tuple[int, int]) -> Node:
    decode = graph.add("VAEDecode", at, (240, 60))
    graph.link(report, "after", decode, "samples")
    graph.link(vae, "VAE", decode, "vae")
    return decode


def saved(graph: Graph, images: Node, y: int, rate: float, prefix: str = "video/wanattn") -> None:
    create = graph.add("CreateVideo", (2260, y), (240, 90), rate)
    save = graph.add("SaveVideo", (2560, 0), (560, 660), prefix, "auto", "auto")
    graph.link(images, "IMAGE", create, "images")
    graph.link(create, "VIDEO", save, "video")


def text_to_video(name: str, pace: str, smooth: bool = False) -> Graph:
    """Wan 2.2 14B, 640 x 640, 81 frames, as the official template; `smooth` doubles its 16 frames a second."""
    graph = Graph(name)
    first, second, report = experts(graph, "t2v", pace)
    positive, negative = prompts(graph, 1400)
    conditioned(graph, (first, second), ((positive, "CONDITIONING"), (negative, "CONDITIONING")))
    latent = graph.add("EmptyHunyuanLatentVideo", (1640, 1400), (320, 140), 640, 640, 81, 1)
    graph.link(latent, "LATENT", first, "latent_image")
    vae = vae_loader(graph, "wan_2.1_vae.safetensors", 1580)
    images = decoded(graph, report, vae, (2000, 1400))
    saved(graph, doubled(graph, images) if smooth else images, 1400, 32.0 if smooth else 16.0)
    graph.add("MarkdownNote", (-480, 0), (440, 480), NOTE)
    return graph


def doubled(graph: Graph, images: Node) -> Node:
    """One frame between each two: 16 a second become 32."""
    name = "film_net_fp16.safetensors"
    file = model_file(name, "frame_interpolation", INTERPOLATION)
    loader = graph.add(
        "FrameInterpolationModelLoader", (1640, 1620), (320, 70), name, models=[file]
    )
    between = graph.add("FrameInterpolate", (2000, 1540), (240, 90), 2)
    graph.link(loader, "INTERP_MODEL", between, "interp_model")
    graph.link(images, "IMAGE", between, "images")
    return between


def image_to_video(name: str) -> Graph:
    """Wan 2.2 14B from a first frame, as the official template."""
    graph = Graph(name)
    first, second, report = experts(graph, "i2v", "20 steps")
    positive, negative = prompts(graph, 1400)
    vae = vae_loader(graph, "wan_2.1_vae.safetensors", 1580)
    image = graph.add("LoadImage", (420, 1640), (320, 360), "example.png", "image")
    start = graph.add("WanImageToVideo", (1460, 1400), (340, 230), 640, 640, 81, 1)
    graph.link(positive, "CONDITIONING", start, "positive")
    graph.link(negative, "CONDITIONING", start, "negative")
    graph.link(vae, "VAE", start, "vae")
    graph.link(image, "IMAGE", start, "start_image")
    conditioned(graph, (first, second), ((start, "positive"), (start, "negative")))
    graph.link(start, "latent", first, "latent_image")
    saved(graph, decoded(graph, report, vae, (2000, 1400)), 1400, 16.0)
    graph.add("MarkdownNote", (-480, 0), (440, 480), NOTE)
    return graph


def small(graph: Graph, backends: tuple[str, ...]) -> tuple[list[Node], Node]:
    """Wan 2.2 5B, 1280 x 704, 121 frames: a row for each backend, with the same seed; the reports and the VAE."""
    model = load(graph, "wan2.2_ti2v_5B_fp16.safetensors", (0, 0))
    vae = vae_loader(graph, "wan2.2_vae.safetensors", 720 * len(backends) + 140)
    size = (1640, 720 * len(backends) - 20)
    latent = graph.add("Wan22ImageToVideoLatent", size, (320, 160), 1280, 704, 121, 1)
    positive, negative = prompts(graph, 720 * len(backends) - 40)
    graph.link(vae, "VAE", latent, "vae")
    reports = []
    for row, backend in enumerate(backends):
        prefix = f"wanattn/{backend}" if len(backends) > 1 else "wanattn/5B"
        watch, report = watched(graph, model, 720 * row, prefix, backend)
        widgets = [7, "fixed", 20, 5.0, "uni_pc", "simple", 1.0]
        sampler = sampled(graph, "KSampler", watch, 720 * row, 8.0, widgets)
        conditioned(graph, (sampler,), ((positive, "CONDITIONING"), (negative, "CONDITIONING")))
        graph.link(latent, "LATENT", sampler, "latent_image")
        graph.link(sampler, "LATENT", report, "after")
        reports.append(report)
    return reports, vae


def five_b(name: str) -> Graph:
    """Wan 2.2 5B from text, as the official template; an image can be wired to its latent."""
    graph = Graph(name)
    (report,), vae = small(graph, ("auto",))
    saved(graph, decoded(graph, report, vae, (2000, 640)), 640, 24.0)
    graph.add("MarkdownNote", (-480, 0), (440, 480), NOTE)
    return graph


def compare(name: str) -> Graph:
    """The same seed through auto and through ComfyUI's own attention, videos and reports side by side."""
    graph = Graph(name)
    (left, right), vae = small(graph, ("auto", "host"))
    pictures = graph.add("ImageStitch", (2560, 720), (280, 170), "down", True, 16, "white")
    shown = graph.add("PreviewImage", (2880, 720), (640, 660))
    graph.link(left, "picture", pictures, "image1")
    graph.link(right, "picture", pictures, "image2")
    graph.link(pictures, "IMAGE", shown, "images")
    both = graph.add("ImageStitch", (2000, 1560), (240, 170), "right", True, 8, "black")
    for report, input_name, x in ((left, "image1", 2000), (right, "image2", 2260)):
        graph.link(decoded(graph, report, vae, (x, 1460)), "IMAGE", both, input_name)
    saved(graph, both, 1560, 24.0, "video/wanattn_compare")
    graph.add("MarkdownNote", (-480, 0), (440, 480), COMPARE_NOTE)
    return graph


def on_two_gpus(name: str) -> Graph:
    """Wan 2.2 5B from text by Raylight's actors, sequence-parallel."""
    graph = Graph(name)
    given = (
        "local",
        "default",
        2,
        2,
        1,
        1,
        1,
        False,
        False,
        False,
        False,
        "TORCH_FLASH",
        False,
        False,
    )
    actors = graph.add("RayInitializer", (0, 0), (380, 400), *given)
    file = model_file("wan2.2_ti2v_5B_fp16.safetensors", "diffusion_models")
    model = graph.add("RayUNETLoader", (420, 0), (380, 110), file["name"], "default", models=[file])
    choice = ("auto", "next best", "exact", 0.03)
    chosen = graph.add("WanAttnRayBackend", (840, 0), (320, 300), *choice)
    widgets = ["enable", 7, "fixed", 20, 5.0, "uni_pc", "simple", 0, 10000, "disable", 1.0]
    sampler = graph.add("XFuserKSamplerAdvanced", (1640, 0), (320, 380), *widgets)
    report = graph.add("WanAttnRayReport", (2000, 0), (520, 600), "wanattn/raylight")
    vae = vae_loader(graph, "wan2.2_vae.safetensors", 860)
    latent = graph.add("Wan22ImageToVideoLatent", (1640, 700), (320, 160), 1280, 704, 121, 1)
    graph.link(actors, "ray_actors_init", model, "ray_actors_init")
    graph.link(model, "ray_actors", chosen, "ray_actors")
    graph.link(chosen, "ray_actors", sampler, "ray_actors")
    graph.link(sampler, "ray_actors", report, "ray_actors")
    graph.link(vae, "VAE", latent, "vae")
    graph.link(latent, "LATENT", sampler, "latent_image")
    conditioned(graph, (sampler,), tuple((each, "CONDITIONING") for each in prompts(graph, 680)))
    decode = graph.add("VAEDecode", (2000, 700), (240, 60))
    graph.link(sampler, "latent", decode, "samples")
    graph.link(vae, "VAE", decode, "vae")
    saved(graph, decode, 700, 24.0)
    graph.add("MarkdownNote", (-480, 0), (440, 480), RAY_NOTE)
    return graph


# the name that the template browser shows, without _ : what is made of it
TEMPLATES: dict[str, Callable[[str], Graph]] = {
    "wan2.2_14B_t2v_attention": lambda name: text_to_video(name, "20 steps"),
    "wan2.2_14B_t2v_4steps_attention": lambda name: text_to_video(name, "4 steps"),
    "wan2.2_14B_t2v_32fps_attention": lambda name: text_to_video(name, "20 steps", smooth=True),
    "wan2.2_14B_i2v_attention": image_to_video,
    "wan2.2_5B_attention": five_b,
    "wan2.2_5B_compare_attention": compare,
    "wan2.2_14B_t2v_wrapper_attention": wrapped,
}
RAYLIGHT = "wan2.2_5B_raylight_attention"
WORKFLOWS = tuple(
    (lambda name=name, make=make: make(name))
    for name, make in {**TEMPLATES, RAYLIGHT: on_two_gpus}.items()
)


def main() -> None:
    for graph in (make() for make in WORKFLOWS):
        path = FOLDER / f"{graph.name}.json"
        path.write_text(render(graph.data()), encoding="utf-8", newline="\n")
        print(path.name)
    BLUEPRINTS.mkdir(exist_ok=True)
    path = BLUEPRINTS / f"{WATCHED_MODEL}.json"
    path.write_text(render(blueprint()), encoding="utf-8", newline="\n")
    print(path.name)


if __name__ == "__main__":
    main()
