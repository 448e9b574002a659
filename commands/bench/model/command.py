"""wanattn bench model: a whole forward of Wan's denoiser, by attention backend."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Protocol

import torch

from ....attention.backends import BACKENDS
from ....attention.backends.packages import pip
from ....attention.call import Call
from ....attention.choose.policy import Policy, eligible, wishes
from ....attention.environment import default_device, probe, require
from ....attention.wan import Variant, Video
from ....bench.benchmark import Benchmark, Progress
from ....bench.lists import numbers, require_known, words
from ....bench.results.row import Results
from ....nodes.host.program import find_host
from .contender import UNPATCHED, Denoiser
from .race import Race, self_call
from .shape import SHAPES, Shape

DTYPES = ("bfloat16", "float16", "float32")


@dataclasses.dataclass(frozen=True, slots=True)
class Defaults:
    """What is measured where nothing is said. `layers` is None for all of the model."""

    model: str
    layers: int | None
    size: str
    frames: str
    dtype: str


GPU = Defaults("14b", None, "832x1216", "25,49,81", "bfloat16")
CPU = Defaults("5b", 1, "128x128", "5", "float32")  # answers within half a minute


class Build(Protocol):
    """The class of a denoiser. `pads`: its model fills up rows and columns that are no whole patch."""

    pads: bool

    def __call__(
        self, shape: Shape, dtype: torch.dtype, device: torch.device, seed: int
    ) -> Denoiser: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = "default {0}; {1} on a CPU".format
    parser.add_argument(
        "--model", choices=list(SHAPES), help=f"of Wan 2.2, {default(GPU.model, CPU.model)}"
    )
    parser.add_argument("--size", help=f"WIDTHxHEIGHT in pixels, {default(GPU.size, CPU.size)}")
    parser.add_argument("--frames", help=f"4n+1 each, {default(GPU.frames, CPU.frames)}")
    parser.add_argument(
        "--backends",
        help="such as host,cudnn,auto; default: host, every exact one that can run here, auto. "
        f"'{UNPATCHED}' is the model without this pack",
    )
    parser.add_argument("--dtype", choices=DTYPES, help=default(GPU.dtype, CPU.dtype))
    parser.add_argument(
        "--layers", type=int, metavar="N", help=f"blocks, {default('all', CPU.layers)}"
    )
    parser.add_argument(
        "--steps", type=int, default=0, metavar="N", help="also tell the difference by step, over N"
    )
    parser.add_argument("--device", help="such as cpu or cuda:0; default: the GPU if there is one")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--comfyui", type=Path, metavar="FOLDER", help="its folder, if it is not found"
    )
    source.add_argument(
        "--diffusers", action="store_true", help="measure diffusers' model, not ComfyUI's"
    )


def measure(options: argparse.Namespace, results: Results, progress: Progress) -> None:
    name = default_device() if options.device is None else options.device
    require(name)
    device = torch.device(name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if options.steps < 0:
        raise ValueError(f"steps {options.steps}, needs 0 for none or more")
    shape, dtype, clips = chosen(options, device)
    require_memory(shape, clips[0], dtype, device)
    build = source(options, device, results)
    if not build.pads:
        require_whole_patches(shape.variant, clips[0])
    backends = contenders(options, self_call(shape, clips[0], dtype, device))
    results.environment["device"] = str(device)
    results.baseline = backends[0]
    denoiser = build(shape, dtype, device, options.seed or 0)
    results.notes += about(denoiser, options, results.baseline)
    rounds = 3 if options.repeat is None else options.repeat
    settings, seed = options.settings or "", options.seed or 0
    race = Race(denoiser, backends, results, progress, rounds, seed, settings, options.steps)
    race.run(clips)


def chosen(
    options: argparse.Namespace, device: torch.device
) -> tuple[Shape, torch.dtype, list[Video]]:
    """What to build and at which sizes, the smallest first, so that a run that is cut short has the most."""
    default = CPU if device.type == "cpu" else GPU
    shape = SHAPES[options.model or default.model]
    layers = default.layers if options.layers is None else options.layers
    if layers is not None:
        shape = with_layers(shape, layers)
    frames = default.frames if options.frames is None else options.frames
    size = default.size if options.size is None else options.size
    clips = [Video.of(size, each) for each in sorted(numbers(frames, "frames", GPU.frames))]
    return shape, getattr(torch, options.dtype or default.dtype), clips


def with_layers(shape: Shape, layers: int) -> Shape:
    if not 1 <= layers <= shape.layers:
        raise ValueError(f"layers {layers}, needs 1 to {shape.layers} for {shape.variant.name}")
    return dataclasses.replace(shape, layers=layers)


def require_whole_patches(variant: Variant, clip: Video) -> None:
    for name in ("width", "height"):
        given = getattr(clip, name)
        if given % variant.pixels:
            raise ValueError(
                f"{name} {given}, needs a multiple of {variant.pixels} for {variant.name} of diffusers, which leaves out "
                "what ComfyUI fills up: choose another --size, or name ComfyUI's folder with --comfyui"
            )


def require_memory(shape: Shape, clip: Video, dtype: torch.dtype, device: torch.device) -> None:
    """Raise ValueError if the smallest clip cannot fit; larger ones may still run out, each by itself."""
    free = probe().free_memory(str(device))
    needed = shape.bytes_for(clip, dtype)
    if free is None or needed <= free:
        return
    fitting = shape.layers - math.ceil((needed - free) / (shape.block * dtype.itemsize))
    advice = f"--layers {fitting}" if fitting > 0 else "a smaller --size or a smaller --model"
    call = self_call(shape, clip, dtype, device)
    raise ValueError(
        f"{shape.name} in {call.dtype_name} at {clip.size}, {clip.frames} frames, needs about "
        f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free on {device}; use {advice}"
    )


def source(options: argparse.Namespace, device: torch.device, results: Results) -> Build:
    """ComfyUI's own model where there is a ComfyUI, else diffusers'."""
    folder = None if options.diffusers else find_host(options.comfyui)
    if folder is None:
        return from_diffusers(results, "" if options.diffusers else "no ComfyUI was found")
    try:
        return from_comfyui(folder, device, results)
    except RuntimeError as error:
        if options.comfyui:
            raise
        return from_diffusers(results, str(error))


def from_comfyui(folder: Path, device: torch.device, results: Results) -> Build:
    from ....nodes.host import program

    program.load(folder, cpu=device.type == "cpu")
    results.environment["comfyui"] = program.version()
    from .comfyui import HostDenoiser

    return HostDenoiser


def from_diffusers(results: Results, why: str) -> Build:
    try:
        import diffusers

        from .diffusers import DiffusersDenoiser
    except ImportError as error:
        reason = f"diffusers does not load ({error}); install it with: {pip('diffusers')}"
        instead = ", or name ComfyUI's folder with --comfyui" if why else ""
        raise RuntimeError("; ".join(filter(None, (why, reason))) + instead) from error
    results.environment["diffusers"] = diffusers.__version__
    if why:
        results.notes.append(f"diffusers' model was measured: {why}")
    return DiffusersDenoiser


def contenders(options: argparse.Namespace, call: Call) -> list[str]:
    """The names of those that take part, the baseline first."""
    if options.backends is None:
        names = default_backends(call)
    else:
        names = words(options.backends, "backends", "host,cudnn,auto")
    usual = "host" if "host" in names else names[0]
    baseline = usual if options.against is None else options.against
    names = list(dict.fromkeys((baseline, *names)))
    require_known(names, (*wishes(), UNPATCHED))
    return names


def default_backends(call: Call) -> list[str]:
    """`auto` last, when the kernels it measures are built."""
    able = {backend.name for backend in eligible(call, probe(), Policy("auto"))} - {"math"}
    return ["host", *(name for name in BACKENDS if name in able), "auto"]


def about(denoiser: Denoiser, options: argparse.Namespace, baseline: str) -> list[str]:
    notes = [
        f"model: {denoiser.source} with random weights",
        f"difference: relative to the output of {baseline} (the column error in files)",
    ]
    if denoiser.shape.layers < SHAPES[denoiser.shape.variant.name].layers:
        notes.append(
            f"{denoiser.shape.name}: what no block holds counts for more than in the whole model"
        )
    unasked = small(options) if denoiser.device.type == "cpu" else ""
    if unasked:
        notes.append(
            f"on a CPU the default is {unasked}: enough to see that it works, "
            "not to choose a backend for a GPU"
        )
    return notes


def small(options: argparse.Namespace) -> str:
    """The options that were left to a CPU's own defaults, which keep it short."""
    names = ("model", "layers", "size", "frames")
    return " ".join(
        f"--{name} {getattr(CPU, name)}" for name in names if getattr(options, name) is None
    )


BENCHMARK = Benchmark(
    "model", "A whole forward of Wan's denoiser, random weights.", add_arguments, measure
)
