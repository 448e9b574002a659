"""The kernels benchmark at one model's own shapes: what to measure, with which backends, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.ldm.wan.model import WanModel

from ...attention.backends import Backend
from ...attention.environment import probe
from ...attention.wan import VARIANTS, Variant, Video
from ...bench import lists
from ...bench.benchmark import Progress
from ...bench.race import contenders
from ...bench.race.case import Case, cases_of
from ...bench.race.device import TIMED
from ...bench.race.keep import keep
from ...bench.race.race import race
from ...bench.race.rounds import COPIES
from ...bench.results.machine import facts
from ...bench.results.payload import Kept
from ...bench.results.row import Results
from . import functions
from .facts import environment, is_wan
from .patch import timings_of

BASELINE = "host"
SPARE = 2**30  # bytes, for the matrices that the card's rate is measured with


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for. Raises ValueError for a clip that Wan cannot make and for an unknown backend."""

    width: int = 832
    height: int = 480
    frames: str = "81"
    backends: str = ""
    rounds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        _ = self.clips, self.named

    @property
    def clips(self) -> list[Video]:
        lengths = lists.numbers(self.frames, "frames", "25,49,81")
        return [Video(self.width, self.height, length) for length in lengths]

    @property
    def named(self) -> list[Backend]:
        """Empty where the choice is left to the node."""
        if not self.backends.strip():
            return []
        names = lists.words(self.backends.lower(), "backends", "flash,cudnn")
        return contenders.named(names, {BASELINE: functions.default()})


def environment_of(model) -> dict:
    host = environment()
    known = {name: host[name] for name in ("comfyui", "host_attention")}
    return facts(str(model.load_device)) | known


def measure(model, wish: Wish, results: Results, progress: Progress) -> Kept:
    """Fill the rows; which of them `auto` goes by from now on. ValueError and RuntimeError carry a sentence."""
    device = model.load_device
    if device.type not in TIMED:
        raise RuntimeError(
            f"this model computes on {device.type}; kernels can be timed on {' and '.join(TIMED)} only"
        )
    cases = cases_of(variant_of(model), wish.clips, dtype_of(model), str(device))
    backends = wish.named or _all(cases)
    if BASELINE not in (backend.name for backend in backends):
        results.baseline = backends[0].name
    results.notes += _caveats(model)
    largest = max(case.bytes for case in cases)
    try:
        # The host moves models out of the way as far as needed; they come back when they are used.
        comfy.model_management.free_memory(largest * COPIES + SPARE, device)
        race(cases, backends, results, progress, rounds=wish.rounds, seed=wish.seed)
    finally:
        comfy.model_management.soft_empty_cache()
    return keep(cases, results, timings_of)


def _all(cases: list[Case]) -> list[Backend]:
    """The host's own choice and everything else but its slow functions, which must be asked for by name."""
    calls = [case.call for case in cases]
    found = contenders.everything(calls, probe(), {BASELINE: functions.default()})
    return [backend for backend in found if backend.name not in functions.LABELS]


def _caveats(model) -> list[str]:
    kind = type(model.model.diffusion_model)
    if kind is WanModel:
        return []
    return [
        f"{kind.__name__} may add tokens of its own (references, poses, sound), not counted here"
    ]


def variant_of(model) -> Variant:
    """The sizes of this very model; one of Wan 2.2's own goes by its name."""
    denoiser, kind = model.model.diffusion_model, type(model.model).__name__
    if not is_wan(denoiser):
        raise ValueError(
            f"Attention Benchmark knows the shapes of Wan models only, and this one is {kind}. "
            "Attention Diagnostics shows the time of each call of any model."
        )
    heads, blocks = denoiser.num_heads, len(denoiser.blocks)
    pixels = _pixels(model.model.latent_format) * denoiser.patch_size[1]
    sizes = (heads, blocks, pixels, denoiser.dim // heads)
    known = (variant for variant in VARIANTS.values() if variant == Variant(variant.name, *sizes))
    return next(known, Variant(kind, *sizes))


def _pixels(latent_format) -> int:
    """Side of the square that becomes one latent pixel; core 0.8 does not say, but only the 5B model has 48 channels."""
    side = getattr(latent_format, "spacial_downscale_ratio", None)
    return side or (16 if latent_format.latent_channels == 48 else 8)


def dtype_of(model) -> torch.dtype:
    """In which the model computes attention, whatever its weights are stored in."""
    if isinstance(pipeline := getattr(model.model, "pipeline", None), dict):  # WanVideoWrapper's
        dtype = pipeline.get("base_dtype") or pipeline.get("dtype")
    else:
        dtype = model.get_model_object("manual_cast_dtype") or model.model.get_dtype()
    return dtype if dtype in (torch.float16, torch.bfloat16, torch.float32) else torch.bfloat16
