"""A whole sampler run of Wan 2.2 14B with random weights: backends in turn, and what watching costs.

    python tools/figures/sampler.py --comfyui ~/comfy/ComfyUI --backends host,auto [--size 832x1216 --frames 81 --steps 2]

Every run has classifier-free guidance. `plain` is the model without this pack, `watched` with Attention Diagnostics alone.
The first run of each is a warm-up, in which `auto` measures and chooses; its time is told apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path

import torch
from pack import load_host


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--backends", default="plain,host,auto,watched")
    parser.add_argument("--size", default="832x1216")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    load_host(options.comfyui, options.device == "cpu")
    from wanattn.attention.wan import Video

    video = Video.of(options.size, options.frames)
    model = random_model(torch.device(options.device), options.layers)
    for name in options.backends.split(","):
        told(name, patched(model, name), video, options)


def random_model(device: torch.device, layers: int | None):
    from wanattn.commands.bench.model.comfyui import HostDenoiser
    from wanattn.commands.bench.model.shape import SHAPES

    shape = SHAPES["14b"] if layers is None else dataclasses.replace(SHAPES["14b"], layers=layers)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    return HostDenoiser(shape, dtype, device, 0)._patcher


def patched(model, name: str):
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.host.patch import patch, watch

    if name == "plain":
        return model.clone()
    return watch(model) if name == "watched" else patch(model, Policy(name))


def told(name: str, model, video, options) -> None:
    times, peak = [], 0
    for _ in range(1 + options.repeat):
        if options.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        sample(model, video, options.steps)
        times.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() / 2**30 if options.device != "cpu" else 0
    again = statistics.median(times[1:])
    print(f"{name}: {again:.2f} s (first {times[0]:.2f} s), peak {peak:.2f} GiB", flush=True)


def sample(model, video, steps: int) -> torch.Tensor:
    import comfy.sample

    generator = torch.Generator().manual_seed(0)
    texts = [[[torch.randn(1, 512, 4096, generator=generator), {}]] for _ in range(2)]
    latent = torch.zeros(1, 16, *video.latent)
    noise = comfy.sample.prepare_noise(latent, 0)
    given = (noise, steps, 4.0, "euler", "simple", *texts, latent)
    with torch.inference_mode():
        out = comfy.sample.sample(model, *given, seed=0, disable_pbar=True)
    return out.cpu()  # waits for the device


if __name__ == "__main__":
    main()
