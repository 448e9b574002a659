"""Times a denoiser's entrants in turns, so that a card that heats up does not decide the winner."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ....attention import failure
from ....attention.backends import BACKENDS
from ....attention.call import Call
from ....attention.choose.timer import timer_for
from ....attention.environment import probe
from ....attention.wan import TEXT_TOKENS, Video
from ....bench.benchmark import Progress
from ....bench.race.turns import turns
from ....bench.results.row import Results, Row
from .entrant import Denoiser, Entrant, described
from .shape import TEXT_DIM, Shape

PART = "forward"


@dataclass(frozen=True, slots=True)
class Race:
    """`backends` are names, the baseline first. Rows are added to `results` and filled as they are measured."""

    denoiser: Denoiser
    backends: Sequence[str]
    results: Results
    progress: Progress
    rounds: int = 3
    seed: int = 0
    settings: str = ""

    def run(self, clips: Sequence[Video]) -> None:
        flops = {clip: self.denoiser.shape.flops(clip) for clip in clips}
        forwards = len(self.backends) * (self.rounds + 1)
        self.progress.begin(forwards * sum(flops.values()))
        self._wake()
        for clip in clips:
            Heat(self, clip, flops[clip]).run()
            free(self.denoiser.device)

    def _wake(self) -> None:
        """Nobody's first time shall hold what is done once a process."""
        side = 2 * self.denoiser.shape.variant.pixels
        inputs = random_inputs(self.denoiser, Video(side, side, 5), self.seed)
        forward(self.denoiser.entrant("host"), inputs)

    def note(self, sentence: str) -> None:
        if sentence not in self.results.notes:
            self.results.notes.append(sentence)


class Heat:
    """The entrants of a contest at one size."""

    def __init__(self, contest: Race, clip: Video, units: int) -> None:
        self.contest, self.clip, self.units = contest, clip, units
        self._inputs = random_inputs(contest.denoiser, clip, contest.seed)
        self._entrants: list[tuple[Entrant, Row]] = []
        self._expected: torch.Tensor | None = None

    def run(self) -> None:
        for name in self.contest.backends:
            self._enter(name)
        for number in range(self.contest.rounds):
            for entrant, row in turns(self._entrants, number):
                self._attempt(functools.partial(self._time, entrant, row), row)
        for entrant, row in self._entrants:
            self._conclude(entrant, row)

    def _enter(self, name: str) -> None:
        """Its first forward; those that cannot take part only leave their reason."""
        contest = self.contest
        row = Row(contest.results.benchmark, name, PART, **self._facts())
        contest.results.rows.append(row)
        row.reason = "; ".join(self._refusals(name))
        self._attempt(functools.partial(self._begin, name, row), row)
        if row.reason:
            self._advance(contest.rounds, name)

    def _begin(self, name: str, row: Row) -> None:
        entrant = self.contest.denoiser.entrant(name)
        self._first(entrant, row)
        if not row.reason:
            self._entrants.append((entrant, row))

    def _facts(self) -> dict:
        call = self._call()
        return {
            "model": self.contest.denoiser.shape.name,
            "size": self.clip.size,
            "frames": self.clip.frames,
            "dtype": call.dtype_name,
            "settings": self.contest.settings,
            "heads": call.heads,
            "q_len": call.q_len,
        }

    def _call(self) -> Call:
        denoiser = self.contest.denoiser
        return self_call(denoiser.shape, self.clip, denoiser.dtype, denoiser.device)

    def _refusals(self, name: str) -> list[str]:
        if name not in BACKENDS:
            return []
        return BACKENDS[name].refusals(self._call(), probe())

    def _attempt(self, action: Callable[[], None], row: Row) -> None:
        """Where it fails, the row says why and the others go on."""
        if not row.reason:
            try:
                action()
            except Exception as error:  # a backend may fail with anything, want of memory above all
                failure.release(error)
                row.reason = failure.words(error)
                row.times.clear()
                free(self.contest.denoiser.device)
        self._advance(1, row.backend)

    def _advance(self, forwards: int, name: str) -> None:
        what = f"{name}, {self.clip.frames} frames"
        self.contest.progress.advance(forwards * self.units, what)

    def _first(self, entrant: Entrant, row: Row) -> None:
        output, milliseconds = forward(entrant, self._inputs)
        row.tuning = entrant.tuning or None
        row.first = milliseconds - entrant.tuning
        row.active = described(entrant.ran)
        row.reason = self._strayed(entrant)
        if entrant.backend == self.contest.results.baseline:
            self._expected = output
        elif self._expected is not None and not row.reason:
            row.error = difference(output, self._expected)

    def _time(self, entrant: Entrant, row: Row) -> None:
        device = self.contest.denoiser.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        _, milliseconds = forward(entrant, self._inputs)
        row.times.append(milliseconds)
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**30
            row.peak_gib = max(peak, row.peak_gib or 0.0)

    def _strayed(self, entrant: Entrant) -> str:
        """Why a row under this name would be about something else."""
        ran = entrant.ran.get("self")
        if entrant.backend not in BACKENDS or not ran or entrant.backend in ran:
            return ""
        return f"self calls ran on {' + '.join(ran)}: {entrant.reasons('self')}"

    def _conclude(self, entrant: Entrant, row: Row) -> None:
        row.active = described(entrant.ran)
        if entrant.backend in BACKENDS:
            for role, counts in entrant.ran.items():
                for other in set(counts) - {entrant.backend}:
                    why = entrant.reasons(role)
                    self.contest.note(f"{entrant.backend}: {role} calls ran on {other}: {why}")
        elif entrant.dispatcher:
            for found in entrant.dispatcher.notes:
                self.contest.note(f"{entrant.backend}: {found}")


@torch.inference_mode()
def forward(
    entrant: Entrant, inputs: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, float]:
    """The output and the milliseconds: of the device on CUDA, else of the clock."""
    device = inputs[0].device
    outputs = []

    def run() -> None:
        outputs.append(entrant.run(*inputs))
        if device.type not in ("cpu", "cuda"):
            torch.get_device_module(device).synchronize()

    milliseconds = timer_for(device)(run, 1)
    return outputs[0], milliseconds


def random_inputs(denoiser: Denoiser, clip: Video, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same numbers on every device: a latent in float32 and a text in the model's dtype."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(denoiser.shape.latent(clip), generator=generator)
    text = torch.randn(1, TEXT_TOKENS, TEXT_DIM, generator=generator)
    return latent.to(denoiser.device), text.to(denoiser.device, denoiser.dtype)


def self_call(shape: Shape, clip: Video, dtype: torch.dtype, device: torch.device) -> Call:
    tokens, variant = shape.variant.tokens(clip), shape.variant
    return Call("self", 1, variant.heads, tokens, tokens, variant.head_dim, dtype, str(device))


def difference(output: torch.Tensor, expected: torch.Tensor) -> float:
    off = torch.linalg.vector_norm(output.float() - expected.float())
    return float(off / torch.linalg.vector_norm(expected.float()))


def free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
