"""A denoiser whose attention runs on one backend, ready to be timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from ....attention.choose.measure.timings import Timings, own_timings
from ....attention.record.recorder import Recorder
from ....attention.run.dispatch import Dispatcher
from .shape import Shape

UNPATCHED = "unpatched"  # the model without anything of this pack; `host` is the same, watched


@dataclass(frozen=True, slots=True)
class Contender:
    """`run` takes a latent, a text and a sigma from 0 to 1 and gives what the denoiser makes of them."""

    backend: str
    run: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    recorder: Recorder | None = None
    dispatcher: Dispatcher | None = None

    @property
    def tuning(self) -> float:
        """Milliseconds that `auto` has taken to measure."""
        return self.dispatcher.tuning if self.dispatcher else 0.0

    @property
    def ran(self) -> dict[str, Counter[str]]:
        """How many calls of each role ran on which backend."""
        found: dict[str, Counter[str]] = {}
        rows = self.recorder.snapshot().rows if self.recorder else {}
        for row, tally in rows.items():
            found.setdefault(row.call.role, Counter())[row.active] += tally.calls
        return found

    def reasons(self, role: str) -> str:
        """Why calls of this role ran on something else than what was asked for."""
        rows = self.recorder.snapshot().rows if self.recorder else {}
        found = {
            reason
            for row, tally in rows.items()
            if row.call.role == role
            for reason in tally.reasons
        }
        return "; ".join(sorted(found))


class Denoiser(Protocol):
    """A model with random weights. `source` says in a sentence whose it is."""

    shape: Shape
    dtype: torch.dtype
    device: torch.device
    source: str

    def contender(self, backend: str) -> Contender: ...

    def velocity(
        self, output: torch.Tensor, latent: torch.Tensor, sigma: float
    ) -> torch.Tensor: ...


def described(ran: dict[str, Counter[str]]) -> str:
    """`cudnn`, or `self fa3, text cudnn` where the roles differ."""
    words = {role: " + ".join(_counted(counts)) for role, counts in ran.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{role} {word}" for role, word in words.items())


def _counted(counts: Counter[str]) -> list[str]:
    if len(counts) == 1:
        return list(counts)
    return [f"{name} {calls}" for name, calls in counts.most_common()]


def measured_anew(device: torch.device) -> Callable[[str], Timings]:
    """So that `auto` measures here whatever it knows, and leaves the timings in ComfyUI's folder alone."""
    timings = own_timings(str(device), forget=True)
    return lambda _: timings


@torch.no_grad()
def randomise(model: torch.nn.Module, seed: int) -> None:
    """Norms stay near one, so that the signal neither dies nor explodes on its way through the blocks."""
    generators: dict[torch.device, torch.Generator] = {}
    for name, weight in model.named_parameters():
        if weight.device not in generators:
            generators[weight.device] = torch.Generator(weight.device).manual_seed(seed)
        weight.normal_(0, 0.02, generator=generators[weight.device])
        if "norm" in name and name.endswith("weight"):
            weight.add_(1)
