"""What is built: the sizes of Wan 2.2's denoisers, and the memory that they take."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ....attention.wan import TEXT_TOKENS, VARIANTS, Variant, Video

FREQ_DIM = 256
TEXT_DIM = 4096
WORKING = 10  # values a token and channel at the peak of a forward, measured with ComfyUI's 14b


@dataclass(frozen=True, slots=True)
class Shape:
    """A denoiser with `layers` blocks. `channels` are those of its latents."""

    variant: Variant
    ffn_dim: int
    channels: int
    layers: int

    @property
    def dim(self) -> int:
        return self.variant.heads * self.variant.head_dim

    @property
    def name(self) -> str:
        """A model with fewer blocks is not to be compared with the whole one."""
        if self.layers == self.variant.blocks:
            return self.variant.name
        return f"{self.variant.name} ({self.layers} of {self.variant.blocks} blocks)"

    def latent(self, clip: Video) -> tuple[int, int, int, int, int]:
        """Batch, channels, frames, rows, columns: a token is 2x2 of these, at the edges maybe less."""
        side = self.variant.pixels // 2
        return 1, self.channels, clip.latent[0], clip.height // side, clip.width // side

    @property
    def block(self) -> int:
        """Weights of the matrices of a block; what else there is does not count beside them."""
        return 8 * self.dim**2 + 2 * self.dim * self.ffn_dim  # self- and cross-attention, MLP

    @property
    def parameters(self) -> int:
        time = self.dim * (FREQ_DIM + 7 * self.dim)
        text = self.dim * (TEXT_DIM + self.dim)
        return self.layers * self.block + time + text

    def flops(self, clip: Video) -> int:
        """Of one forward, about."""
        tokens = self.variant.tokens(clip)
        linear = 2 * tokens * (6 * self.dim**2 + 2 * self.dim * self.ffn_dim)
        text = 4 * TEXT_TOKENS * self.dim**2
        attention = 4 * tokens * (tokens + TEXT_TOKENS) * self.dim
        return self.layers * (linear + text + attention)

    def bytes_for(self, clip: Video, dtype: torch.dtype) -> int:
        """Of weights and of one forward with a fused backend, about."""
        working = WORKING * self.variant.tokens(clip) * self.dim
        return (self.parameters + working) * dtype.itemsize


SHAPES = {
    "14b": Shape(VARIANTS["14b"], ffn_dim=13824, channels=16, layers=40),
    "5b": Shape(VARIANTS["5b"], ffn_dim=14336, channels=48, layers=30),
}
