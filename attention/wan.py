"""The size of a video, and what Wan makes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

TEXT_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Video:
    """A clip in pixels and frames. Raises ValueError for one that Wan cannot make."""

    width: int = 832
    height: int = 480
    frames: int = 81

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            if getattr(self, name) <= 0 or getattr(self, name) % 16:
                raise ValueError(f"{name} {getattr(self, name)}, needs a multiple of 16")
        if self.frames <= 0 or self.frames % 4 != 1:
            raise ValueError(f"frames {self.frames}, needs 4n+1 such as 25, 49 or 81")

    @classmethod
    def of(cls, size: str, frames: int) -> Video:
        """`size` is WIDTHxHEIGHT in pixels."""
        match = re.fullmatch(r"\s*(\d+)\s*[xX\u00d7]\s*(\d+)\s*", size)
        if not match:
            raise ValueError(f"size '{size}', needs WIDTHxHEIGHT such as 832x1216")
        return cls(int(match[1]), int(match[2]), frames)

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def latent(self) -> tuple[int, int, int]:
        """Frames, rows and columns of the 14B model's latent: one for 4 frames and for 8x8 pixels."""
        return (self.frames - 1) // 4 + 1, self.height // 8, self.width // 8


@dataclass(frozen=True, slots=True)
class Variant:
    """One of Wan 2.2's denoisers. `pixels` is the side of the square that becomes one token."""

    name: str
    heads: int
    blocks: int
    pixels: int
    head_dim: int = 128

    def tokens(self, clip: Video) -> int:
        """Of self-attention. ComfyUI fills up rows and columns that are no whole patch."""
        rows, columns = -(-clip.height // self.pixels), -(-clip.width // self.pixels)
        return clip.latent[0] * rows * columns


VARIANTS = {
    variant.name: variant for variant in (Variant("14b", 40, 40, 16), Variant("5b", 24, 30, 32))
}
