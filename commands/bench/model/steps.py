"""The same noise denoised by each contender, to see whether a small difference stays small."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch

from .contender import Contender, Denoiser

SHIFT = 5.0  # of Wan 2.2's sigmas: most of the steps are spent on much noise


@torch.inference_mode()
def denoised(
    denoiser: Denoiser,
    contender: Contender,
    inputs: tuple[torch.Tensor, torch.Tensor],
    steps: int,
) -> Iterator[torch.Tensor]:
    """The latent after each of Euler's steps from sigma 1 to 0, in float32."""
    latent, text = inputs
    for sigma, following in pairwise(schedule(steps)):
        output = contender.run(latent, text, sigma).float()
        latent = latent + (following - sigma) * denoiser.velocity(output, latent, sigma)
        yield latent


def schedule(steps: int) -> list[float]:
    """One more than steps, from 1 to 0."""
    even = [1 - step / steps for step in range(steps + 1)]
    return [SHIFT * sigma / (1 + (SHIFT - 1) * sigma) for sigma in even]
