"""The kernels benchmark at one model's own shapes: what to measure, with which backends, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
from comfy.ldm.wan.model import WanModel

from ...attention.backends import Backend
from ...attention.environment import probe
from ...attention.wan import Video
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
from .expected.sizes import dtype_of, variant_of
from .patch import timings_of
from .report.facts import environment

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
