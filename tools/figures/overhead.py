"""Host time of one attention call: plain, in a model that is patched and recorded, and in one that is only watched.

    python tools/figures/overhead.py --comfyui ~/comfy/ComfyUI [--device cuda]

Tiny tensors, so that the host is the bottleneck; the median of many rounds in which all ways take turns. The model is the
host's own, with a forward that makes nothing but attention calls, as many as one of 40 blocks does, and is patched and
watched by the functions behind the nodes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from pack import load_host

CALLS, ROUNDS, WARM_UP, HEADS = 80, 201, 20, 2
SHAPE = (1, 16, HEADS * 128)  # B N (H D)
PLAIN, UNPATCHED = "plain F.scaled_dot_product_attention", "unpatched model"
PATCHED, WATCHED = "patched and recorded", "watched only"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    load_host(options.comfyui, options.device == "cpu")
    torch.set_num_threads(1)
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


def ways(device: str) -> dict[str, Callable[[], object]]:
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.host.patch import patch, watch

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    qkv = tuple(torch.randn(SHAPE, device=device, dtype=dtype) for _ in range(3))
    model = attention_only(device, dtype, qkv)
    return {
        PLAIN: plain(qkv),
        UNPATCHED: forward(model.clone(), device),
        PATCHED: forward(patch(model, Policy("flash")), device),
        WATCHED: forward(watch(model, proof="off"), device),
    }


def plain(qkv) -> Callable[[], object]:
    q, k, v = (x.view(*SHAPE[:2], HEADS, 128).transpose(1, 2) for x in qkv)

    def run() -> None:
        for _ in range(CALLS):
            F.scaled_dot_product_attention(q, k, v)

    return run


def attention_only(device: str, dtype: torch.dtype, qkv):
    """The host's Wan model, but its forward calls attention and gives back what it got."""
    import comfy.model_patcher
    import comfy.supported_models
    from comfy.ldm.modules import attention

    def attend(x, *_, transformer_options, **__):
        for number in range(CALLS):
            transformer_options["block_index"] = number // 2
            attention.attention_pytorch(*qkv, heads=HEADS, transformer_options=transformer_options)
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
