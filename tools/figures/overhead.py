"""Host time of one attention call: plain, in a model that is patched and recorded, and in one that is only watched.

    python tools/figures/overhead.py --comfyui ~/comfy/ComfyUI [--device cuda]
    python tools/figures/overhead.py --comfyui ~/comfy/ComfyUI --forward

Tiny tensors, so that the host is the bottleneck; the median of many rounds in which all ways take turns. The model is the
host's own, with a forward that makes nothing but attention calls, as many as one of 40 blocks does, and is patched and
watched by the functions behind the nodes. With --forward it is a whole forward of a tiny model, every matrix product in it,
and the time of watching is told in per cent of the time without, beside that of the same model once more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from pack import load_host

CALLS, ROUNDS, WARM_UP, HEADS = 80, 201, 20, 2
RUNS, STEPS = 30, 7  # of --forward
SHAPE = (1, 16, HEADS * 128)  # B N (H D)
PLAIN, UNPATCHED = "plain F.scaled_dot_product_attention", "unpatched model"
PATCHED, WATCHED = "patched and recorded", "watched only"
AGAIN = "unpatched model again"  # how far the same is from itself


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--forward", action="store_true")
    options = parser.parse_args()
    if options.forward:
        prefer_torch(options.comfyui)
    load_host(options.comfyui, options.device == "cpu")
    torch.set_num_threads(1)
    if options.forward:
        return whole(options.device)
    with torch.inference_mode():
        medians = measure(ways(options.device), options.device)
    for name, microseconds in medians.items():
        print(f"{name}: {microseconds:.1f} us a call")
    for name in (PATCHED, WATCHED):
        beyond = [
            f"{medians[name] - medians[other]:.1f} us beyond {other}"
            for other in (PLAIN, UNPATCHED)
        ]
        print(f"cost of {name}: {', '.join(beyond)}")
    print(f"torch {torch.__version__}, {options.device}")


def ways(
    device: str, after: Callable[[], object] = lambda: None
) -> dict[str, Callable[[], object]]:
    """`after` follows each call of the model, as a layer that comes next."""
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.host.patch import patch, watch

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    qkv = tuple(torch.randn(SHAPE, device=device, dtype=dtype) for _ in range(3))
    model = attention_only(device, dtype, qkv, after)
    return {
        PLAIN: plain(qkv),
        UNPATCHED: forward(model.clone(), device),
        PATCHED: forward(patch(model, Policy("flash")), device),
        WATCHED: forward(watch(model, proof="off"), device),
    }


def prefer_torch(folder: Path) -> None:
    """On a CPU the host's default is slow enough to hide what watching costs."""
    sys.path.insert(0, str(folder.resolve()))
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True


def whole(device: str) -> None:
    """Sampler runs of the tiny model in turns; the first forward of a run is not counted: it meets every kind of call."""
    from wanattn.nodes.host.patch import watch

    model = tiny_model(torch.device(device))
    ways = {UNPATCHED: model.clone(), WATCHED: watch(model, proof="off"), AGAIN: model.clone()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1 + RUNS):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            found[name] += forwards(ways[name])[1:] if number else []
    for part, name in enumerate(("first quartile", "median")):
        plain, *others = (statistics.quantiles(found[way], n=4)[part] for way in ways)
        print(f"{name}: {UNPATCHED} {plain:.3f} ms a forward")
        for way, other in zip((WATCHED, AGAIN), others, strict=True):
            beyond = other - plain
            print(f"  {way}: {1e3 * beyond:+.0f} us, {100 * beyond / plain:+.2f} %")
    print(f"torch {torch.__version__}, {device}, {len(found[WATCHED])} forwards each")


def tiny_model(device: torch.device):
    """As the tests have it: two blocks, two heads, 320 tokens, classifier-free guidance as one batch of two."""
    import dataclasses

    from wanattn.commands.bench.model.comfyui import HostDenoiser
    from wanattn.commands.bench.model.shape import SHAPES

    variant = dataclasses.replace(SHAPES["14b"].variant, heads=HEADS)
    shape = dataclasses.replace(SHAPES["14b"], layers=2, ffn_dim=512, variant=variant)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    return HostDenoiser(shape, dtype, device, 0)._patcher


def forwards(model) -> list[float]:
    """Milliseconds of this thread's time that each forward of one sampler run takes."""
    import comfy.sample
    import comfy.samplers

    times = []

    def sampler(denoise, x, sigmas, extra_args, **named):
        for step in range(len(sigmas) - 1):
            start = time.thread_time()
            denoise(x, sigmas[step : step + 1], **extra_args)
            times.append((time.thread_time() - start) * 1e3)
        return x

    latent = torch.zeros(1, 16, 5, 16, 16)
    texts = [[[torch.randn(1, 512, 4096), {}]] for _ in range(2)]
    given = (latent, 4.0, comfy.samplers.KSAMPLER(sampler), torch.linspace(1, 0, STEPS + 1))
    with torch.inference_mode():
        comfy.sample.sample_custom(model, *given, *texts, latent, disable_pbar=True, seed=0)
    return times


def plain(qkv) -> Callable[[], object]:
    q, k, v = (x.view(*SHAPE[:2], HEADS, 128).transpose(1, 2) for x in qkv)

    def run() -> None:
        for _ in range(CALLS):
            F.scaled_dot_product_attention(q, k, v)

    return run


def attention_only(device: str, dtype: torch.dtype, qkv, after: Callable[[], object]):
    """The host's Wan model, but its forward calls attention and gives back what it got."""
    import comfy.model_patcher
    import comfy.supported_models
    from comfy.ldm.modules import attention

    def attend(x, *_, transformer_options, **__):
        for number in range(CALLS):
            transformer_options["block_index"] = number // 2
            attention.attention_pytorch(*qkv, heads=HEADS, transformer_options=transformer_options)
            after()
        return x

    sizes = {"dim": SHAPE[2], "ffn_dim": 512, "num_heads": HEADS, "num_layers": 1}
    config = comfy.supported_models.WAN21_T2V(
        {"image_model": "wan2.1", "model_type": "t2v", **sizes}
    )
    config.set_inference_dtype(dtype, None)
    model = config.get_model({}, device=device)
    model.diffusion_model.forward = attend
    return comfy.model_patcher.ModelPatcher(model, torch.device(device), torch.device(device))


def forward(model, device: str) -> Callable[[], object]:
    """As the sampler runs one, with the wrappers of the model."""
    options = {**model.model_options.get("transformer_options", {}), "wrappers": model.wrappers}
    latent, sigma = torch.zeros(1, 16, 1, 4, 4, device=device), torch.ones(1, device=device)
    text = torch.zeros(1, 512, 4096, device=device)

    def run() -> None:
        given = {"c_crossattn": text, "transformer_options": dict(options)}
        model.model.apply_model(latent, sigma, **given)

    return run


def measure(ways: dict[str, Callable[[], object]], device: str) -> dict[str, float]:
    """Microseconds of one call each; what a forward of this model takes beside its calls is in them."""
    from wanattn.attention.choose.measure.turns import rounds

    found: dict[str, list[float]] = {name: [] for name in ways}
    for number, name in rounds(lambda number: list(ways), WARM_UP + ROUNDS):
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        ways[name]()
        if number >= WARM_UP:
            found[name].append((time.perf_counter() - start) / CALLS * 1e6)
    return {name: statistics.median(times) for name, times in found.items()}


if __name__ == "__main__":
    main()
