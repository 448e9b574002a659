"""A whole sampler run of Wan 2.2 14B with random weights: backends in turn, and what watching costs.

    python tools/figures/sampler.py --comfyui ~/comfy/ComfyUI --backends host,auto [--size 832x1216 --frames 81 --steps 2]

Every run has classifier-free guidance. `plain` is the model without this pack, `watched` with Attention Diagnostics alone,
`unprofiled` the same without a profile of the first call of each kind.
The first run of each is a warm-up, in which `auto` measures and chooses; its time is told apart. With several GPUs the model
is split by the host's MultiGPU CFG Split, and the backends take turns run by run:

    python tools/figures/sampler.py --gpus 2 --backends plain,watched,host --size 480x832 --steps 4 --repeat 7
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path

import torch
from pack import load_host

WATCHED = {"watched": "sample", "unprofiled": "off"}  # how much is profiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--backends", default="plain,host,auto,watched")
    parser.add_argument("--size", default="832x1216")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    load_host(options.comfyui, options.device == "cpu")
    from wanattn.attention.wan import Video

    video = Video.of(options.size, options.frames)
    devices = [torch.device(options.device)]
    if options.gpus > 1:
        devices = [torch.device("cuda", number) for number in range(options.gpus)]
    model = split(random_model(devices[0], options.layers), devices, options.layers)
    models = {name: patched(model, name) for name in options.backends.split(",")}
    if options.gpus == 1:
        for name, each in models.items():
            told(name, [timed(each, video, options) for _ in range(1 + options.repeat)])
    else:
        in_turns(models, video, options)


def split(model, devices: list[torch.device], layers: int | None):
    """As the host's node does it; `cached_patcher_init` is how its loaders make a copy."""
    if len(devices) == 1:
        return model
    import comfy.multigpu

    others = iter(devices[1:])
    model.cached_patcher_init = (lambda: random_model(next(others), layers), ())
    return comfy.multigpu.create_multigpu_deepclones(model, len(devices), reuse_loaded=True)


def in_turns(models: dict, video, options) -> None:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for number in range(1 + options.repeat):
        for name in list(models)[:: 1 if number % 2 else -1]:
            found[name].append(timed(models[name], video, options))
    for name, runs in found.items():
        told(name, runs)


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
    if name in WATCHED:
        return watch(model, proof=WATCHED[name])
    return patch(model, Policy(name))


def told(name: str, runs: list[tuple[float, float]]) -> None:
    times = [seconds for seconds, _ in runs]
    again, spread = statistics.median(times[1:]), max(times[1:]) - min(times[1:])
    peak = runs[-1][1]
    print(
        f"{name}: {again:.3f} s (first {times[0]:.2f} s, spread {spread:.3f} s), peak {peak:.2f} GiB",
        flush=True,
    )


def timed(model, video, options) -> tuple[float, float]:
    """Seconds, and the peak of the first device's memory in GiB."""
    if options.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    sample(model, video, options.steps)
    seconds = time.perf_counter() - start
    return seconds, torch.cuda.max_memory_allocated() / 2**30 if options.device != "cpu" else 0.0


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
