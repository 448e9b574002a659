"""The kernels benchmark at one model's own shapes: what to measure, with which backends, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
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
from ..attention.bench.wording import listed
from ..attention.call import Call
from ..attention.clip import VARIANTS, Clip, Variant
from ..attention.environment import probe
from ..attention.knowledge import timing_of
from ..attention.policy import Policy, eligible
from ..attention.timings import Timings
from ..attention.tuner import Measurement
from . import hosted
from .backend import timings_of
from .payload import environment

BASELINE = "host"
TIMED = ("cpu", "cuda")
EVERYTHING = Policy("auto", precision="allow approximate")  # all that `auto` may ever ask
UNEVEN = 0.2  # spread above which `auto` had better measure by itself
CLOSE = 1.1  # so close, the order may be another inside a model: there matrix products run between the calls
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
    """Hand to `auto` the places that leave no doubt, and say so in the notes."""
    kept: list[tuple[tuple, str]] = []
    left: dict[str, list[str]] = {}
    lost = False
    rows = {(row.place, row.backend): row for row in results.rows}
    for cell in cells:
        asked = eligible(cell.call, probe(), EVERYTHING)
        there = {
            backend.name: rows.get((cell.row(backend).place, backend.name)) for backend in asked
        }
        found = {name: row for name, row in there.items() if row is not None}
        usable = [row for row in found.values() if _usable(row, cell.call)]
        if not usable:
            continue
        if doubt := _doubt(there.keys() - found.keys(), usable):
            left.setdefault(doubt, []).append(title(usable[0]))
            continue
        kept += [(row.place, row.backend) for row in usable]
        lost |= not _written(cell.call, usable)
    results.notes += _told(kept, left, lost)
    return kept


def _usable(row: Row, call: Call) -> bool:
    """Whether `auto` itself would have used it."""
    limit = BACKENDS[row.backend].tolerance.get(call.dtype, math.inf)
    return bool(row.times) and not row.reason and (row.error is None or row.error <= limit)


def _doubt(missing: Collection[str], rows: Sequence[Row]) -> str:
    """Why `auto` had better measure this place by itself; times of one kind only can be compared."""
    if missing:
        names = sorted(missing)
        return f"{listed(names)} {'was' if len(names) == 1 else 'were'} not measured"
    uneven = [row.backend for row in rows if row.spread is None or row.spread > UNEVEN]
    if uneven:
        return f"times vary by more than {100 * UNEVEN:.0f} % ({', '.join(uneven)})"
    exact = [row for row in rows if BACKENDS[row.backend].exact]
    for group in (exact, rows):
        ranked = sorted(group, key=_time)
        close = [row.backend for row in ranked if _time(row) < CLOSE * _time(ranked[0])]
        if len(close) > 1:
            return f"{listed(close)} are within {100 * (CLOSE - 1):.0f} % of each other"
    return ""


def _time(row: Row) -> float:
    return row.ms or math.inf


def _written(call: Call, rows: Sequence[Row]) -> bool:
    """Whether they are on the disk too."""
    timings = {row.backend: timing_of(BACKENDS[row.backend], _measurement(row)) for row in rows}
    known = timings_of(call.device)
    known.write(call, timings)
    return timings.items() <= Timings(known.path, known.machine).read(call).items()


def _measurement(row: Row) -> Measurement:
    return Measurement(row.backend, row.ms, row.first or row.ms, row.error)


def _told(kept: list[tuple[tuple, str]], left: dict[str, list[str]], lost: bool) -> list[str]:
    notes = []
    if kept:
        until = " until ComfyUI ends, since timings.json cannot be written (see the log)"
        names = ", ".join(dict.fromkeys(name for _, name in kept))
        notes.append(f"kept for auto of Attention Backend{until if lost else ''}: {names}")
    for doubt, places in left.items():
        notes.append(f"left for auto to measure by itself, since {doubt}: {'; '.join(places)}")
    return notes
