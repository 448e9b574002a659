"""The kernels benchmark at one model's own shapes: what to measure, with which backends, and what is kept of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.ldm.wan.model import WanModel

from ..attention.backends import BACKENDS, Backend
from ..attention.bench import entrants, lists
from ..attention.bench.cells import Cell, cells_of
from ..attention.bench.facts import facts
from ..attention.bench.heat import COPIES
from ..attention.bench.payload import Kept, title
from ..attention.bench.progress import Progress
from ..attention.bench.race import race
from ..attention.bench.row import Results, Row
from ..attention.call import Call
from ..attention.clip import VARIANTS, Clip, Variant
from ..attention.environment import probe
from ..attention.knowledge import timing_of
from ..attention.policy import Policy, candidates
from ..attention.timings import Timing, Timings
from ..attention.tuner import Measurement
from . import hosted
from .backend import timings_of
from .payload import environment

BASELINE = "host"
TIMED = ("cpu", "cuda")
UNEVEN = 0.2  # spread above which `auto` had better measure again
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
    def clips(self) -> list[Clip]:
        lengths = lists.numbers(self.frames, "frames", "25,49,81")
        return [Clip(self.width, self.height, length) for length in lengths]

    @property
    def named(self) -> list[Backend]:
        """Empty where the choice is left to the node."""
        if not self.backends.strip():
            return []
        names = lists.words(self.backends.lower(), "backends", "flash,cudnn")
        return entrants.named(names, {BASELINE: hosted.default()})


def environment_of(model) -> dict:
    host = environment()
    known = {name: host[name] for name in ("comfyui", "host_attention")}
    return facts(str(model.load_device)) | known


def measure(model, wish: Wish, results: Results, progress: Progress) -> Kept:
    """Fill the rows; which of them `auto` goes by from now on. ValueError and RuntimeError carry a sentence."""
    device = model.load_device
    if device.type not in TIMED:
        raise RuntimeError(
            f"this model computes on {device.type}; kernels can be timed on cpu and cuda only"
        )
    cells = cells_of(variant_of(model), wish.clips, dtype_of(model), str(device))
    backends = wish.named or _all(cells)
    if BASELINE not in (backend.name for backend in backends):
        results.baseline = backends[0].name
    results.notes += _caveats(model)
    largest = max(cell.bytes for cell in cells)
    try:
        # The host moves models out of the way as far as needed; they come back when they are used.
        comfy.model_management.free_memory(largest * COPIES + SPARE, device)
        race(cells, backends, results, progress, rounds=wish.rounds, seed=wish.seed)
    finally:
        comfy.model_management.soft_empty_cache()
    return keep(cells, results)


def _all(cells: list[Cell]) -> list[Backend]:
    """The host's own choice and everything else but its slow functions, which must be asked for by name."""
    calls = [cell.call for cell in cells]
    found = entrants.everything(calls, probe(), {BASELINE: hosted.default()})
    return [backend for backend in found if backend.name not in hosted.LABELS]


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
    if not isinstance(denoiser, WanModel):
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
    dtype = model.get_model_object("manual_cast_dtype") or model.model.get_dtype()
    return dtype if dtype in (torch.float16, torch.bfloat16, torch.float32) else torch.bfloat16


def keep(cells: list[Cell], results: Results) -> Kept:
    """Hand to `auto` what it may go by, and say so in the notes."""
    kept: list[tuple[tuple, str]] = []
    uneven, lost = [], False
    rows = {(row.place, row.backend): row for row in results.rows}
    for cell in cells:
        timings = {}
        for backend in _asked(cell.call):
            row = rows.get((cell.row(backend).place, backend.name))
            if row is None or not (found := _measurement(row, backend, cell.call)):
                continue
            if row.spread is None or row.spread > UNEVEN:
                uneven.append(f"{backend.name} ({title(row)})")
                continue
            timings[backend.name] = timing_of(backend, found)
            kept.append((row.place, backend.name))
        if timings:
            lost |= not _written(cell.call, timings)
    results.notes += _told([name for _, name in kept], uneven, lost)
    return kept


def _written(call: Call, timings: dict[str, Timing]) -> bool:
    """Whether they are on the disk too."""
    known = timings_of(call.device)
    known.write(call, timings)
    return timings.items() <= Timings(known.path, known.machine).read(call).items()


def _told(kept: list[str], uneven: list[str], lost: bool) -> list[str]:
    notes = []
    if kept:
        until = " until ComfyUI ends, since timings.json cannot be written (see the log)"
        names = ", ".join(dict.fromkeys(kept))
        notes.append(f"kept for auto of Attention Backend{until if lost else ''}: {names}")
    if uneven:
        why = f"since their times vary by more than {100 * UNEVEN:.0f} %"
        notes.append(f"not kept for auto, {why}: {', '.join(uneven)}")
    return notes


def _asked(call: Call) -> list[Backend]:
    """All that `auto` may ever ask."""
    names = candidates(call, probe(), Policy("auto", precision="allow approximate"))
    return [BACKENDS[name] for name in names]


def _measurement(row: Row, backend: Backend, call: Call) -> Measurement | None:
    """None for a row that `auto` itself would not have used."""
    if not row.ms or row.reason:
        return None
    if row.error is not None and not row.error <= backend.tolerance.get(call.dtype, math.inf):
        return None
    return Measurement(backend.name, row.ms, row.first or row.ms, row.error)
