"""Times a denoiser's contenders in turns, so that a card that heats up does not decide the winner."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ....attention.backends import BACKENDS
from ....attention.call import Call
from ....attention.choose.measure.timer import timer_for
from ....attention.choose.measure.turns import rounds
from ....attention.environment import probe
from ....attention.wan import TEXT_TOKENS, Video
from ....bench.benchmark import Progress
from ....bench.race.device import attempt, begin_peak, free, peak
from ....bench.results.row import Results, Row
from .contender import Contender, Denoiser, described
from .shape import TEXT_DIM, Shape
from .steps import denoised

PART = "forward"
SIGMA = 0.9  # of the forward that is timed


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
    walk: int = 0  # steps of denoising after the rounds

    def run(self, clips: Sequence[Video]) -> None:
        flops = {clip: self.denoiser.shape.flops(clip) for clip in clips}
        forwards = len(self.backends) * (self.rounds + 1 + self.walk)
        self.progress.begin(forwards * sum(flops.values()))
        self._wake()
        for clip in clips:
            SizeRace(self, clip, flops[clip]).run()
            free(self.denoiser.device)

    def _wake(self) -> None:
        """Nobody's first time shall hold what is done once a process."""
        side = 2 * self.denoiser.shape.variant.pixels
        inputs = random_inputs(self.denoiser, Video(side, side, 5), self.seed)
        forward(self.denoiser.contender("host"), inputs)

    def note(self, sentence: str) -> None:
        if sentence not in self.results.notes:
            self.results.notes.append(sentence)


class SizeRace:
    """The race at one size."""

    def __init__(self, race: Race, clip: Video, units: int) -> None:
        self.race, self.clip, self.units = race, clip, units
        self._inputs = random_inputs(race.denoiser, clip, race.seed)
        self._contenders: list[tuple[Contender, Row]] = []
        self._expected: torch.Tensor | None = None

    def run(self) -> None:
        for name in self.race.backends:
            self._enter(name)
        for _, (contender, row) in rounds(lambda number: self._contenders, self.race.rounds):
            self._attempt(functools.partial(self._time, contender, row), row)
        for contender, row in self._contenders:
            self._conclude(contender, row)
        if self.race.walk:
            self._drift()

    def _drift(self) -> None:
        """How far each one's latent is from the baseline's after every step, as a sentence."""
        expected: list[torch.Tensor] = []
        for contender, row in self._contenders:
            follow = functools.partial(self._follow, contender, row, expected)
            self._attempt(follow, row, self.race.walk)

    def _follow(self, contender: Contender, row: Row, expected: list[torch.Tensor]) -> None:
        race = self.race
        walk = denoised(race.denoiser, contender, self._inputs, race.walk)
        if contender.backend == race.results.baseline:
            expected += walk
        elif expected:
            off = [difference(latent, other) for latent, other in zip(walk, expected, strict=True)]
            told = ", ".join(f"{share:.1e}" for share in off)
            race.note(f"{row.backend}, {self.clip.frames} frames, difference by step: {told}")

    def _enter(self, name: str) -> None:
        """Its first forward; those that cannot take part only leave their reason."""
        race = self.race
        row = Row(race.results.benchmark, name, PART, **self._facts())
        race.results.rows.append(row)
        row.reason = "; ".join(self._refusals(name))
        self._attempt(functools.partial(self._begin, name, row), row)
        if row.reason:
            self._advance(race.rounds + race.walk, name)

    def _begin(self, name: str, row: Row) -> None:
        contender = self.race.denoiser.contender(name)
        self._first(contender, row)
        if not row.reason:
            self._contenders.append((contender, row))

    def _facts(self) -> dict:
        call = self._call()
        return {
            "model": self.race.denoiser.shape.name,
            "size": self.clip.size,
            "frames": self.clip.frames,
            "dtype": call.dtype_name,
            "settings": self.race.settings,
            "heads": call.heads,
            "q_len": call.q_len,
        }

    def _call(self) -> Call:
        denoiser = self.race.denoiser
        return self_call(denoiser.shape, self.clip, denoiser.dtype, denoiser.device)

    def _refusals(self, name: str) -> list[str]:
        if name not in BACKENDS:
            return []
        return BACKENDS[name].refusals(self._call(), probe())

    def _attempt(self, action: Callable[[], None], row: Row, forwards: int = 1) -> None:
        """Where it fails, the row says why and the others go on."""
        if not row.reason:
            attempt(action, row, self.race.denoiser.device)
        self._advance(forwards, row.backend)

    def _advance(self, forwards: int, name: str) -> None:
        what = f"{name}, {self.clip.frames} frames"
        self.race.progress.advance(forwards * self.units, what)

    def _first(self, contender: Contender, row: Row) -> None:
        output, milliseconds = forward(contender, self._inputs)
        row.tuning = contender.tuning or None
        row.first = milliseconds - contender.tuning
        row.active = described(contender.ran)
        row.reason = self._strayed(contender)
        if contender.backend == self.race.results.baseline:
            self._expected = output
        elif self._expected is not None and not row.reason:
            row.error = difference(output, self._expected)

    def _time(self, contender: Contender, row: Row) -> None:
        device = self.race.denoiser.device
        begin_peak(device)
        _, milliseconds = forward(contender, self._inputs)
        row.times.append(milliseconds)
        row.peak_gib = max(filter(None, (peak(device), row.peak_gib)), default=None)

    def _strayed(self, contender: Contender) -> str:
        """Why a row under this name would be about something else."""
        ran = contender.ran.get("self")
        if contender.backend not in BACKENDS or not ran or contender.backend in ran:
            return ""
        return f"self calls ran on {' + '.join(ran)}: {contender.reasons('self')}"

    def _conclude(self, contender: Contender, row: Row) -> None:
        row.active = described(contender.ran)
        if contender.backend in BACKENDS:
            for role, counts in contender.ran.items():
                for other in set(counts) - {contender.backend}:
                    why = contender.reasons(role)
                    self.race.note(f"{contender.backend}: {role} calls ran on {other}: {why}")
        elif contender.dispatcher:
            for found in contender.dispatcher.notes:
                self.race.note(f"{contender.backend}: {found}")


@torch.inference_mode()
def forward(
    contender: Contender, inputs: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, float]:
    """The output and the milliseconds: of the device on CUDA, else of the clock."""
    device = inputs[0].device
    outputs = []

    def run() -> None:
        outputs.append(contender.run(*inputs, SIGMA))
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
