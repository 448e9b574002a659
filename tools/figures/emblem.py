"""Draws docs/icon.png and docs/banner.png, which the registry shows: python tools/figures/emblem.py; needs Pillow.

Both are the panel's own grid, blocks by steps, one colour a kernel; the pattern is made up.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).resolve().parents[2] / "docs"
BACK, TEXT, DIM = "#17191d", "#e8eaee", "#a3adba"
CUDNN, FLASH, EFFICIENT, MATH = "#4b9be8", "#f2b632", "#1fa884", "#e8563a"
ICON, BANNER = (400, 400), (1260, 540)  # the registry's limits: 400 pixels a side, and 21:9
SMOOTH = 4  # drawn larger, then made smaller


def colour(column: int, row: int, columns: int) -> str:
    """Exact first and last steps, a fast kernel between, and one call that fell back."""
    if (column, row) == (columns * 2 // 3, 2):
        return MATH
    if column < 2 or column >= columns - 1:
        return FLASH
    return EFFICIENT if row == 0 and column % 3 == 0 else CUDNN


def grid(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], columns: int, rows: int):
    left, top, right, bottom = (SMOOTH * edge for edge in box)
    width, height = (right - left) / columns, (bottom - top) / rows
    gap = min(width, height) * 0.09
    for column in range(columns):
        for row in range(rows):
            x, y = left + column * width, top + row * height
            cell = (x + gap, y + gap, x + width - gap, y + height - gap)
            fill = colour(column, row, columns)
            draw.rounded_rectangle(cell, min(width, height) * 0.16, fill=fill)


def canvas(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (SMOOTH * size[0], SMOOTH * size[1]), BACK)
    return image, ImageDraw.Draw(image)


def icon() -> Image.Image:
    image, draw = canvas(ICON)
    grid(draw, (36, 36, 364, 364), 5, 5)
    return image.resize(ICON, Image.Resampling.LANCZOS)


def banner() -> Image.Image:
    image, draw = canvas(BANNER)
    lines = (("Wan Attention", 104, TEXT), ("Choose the kernel. See what really ran.", 40, DIM))
    y = 70
    for text, size, fill in lines:
        font = ImageFont.load_default(SMOOTH * size)
        draw.text((SMOOTH * 80, SMOOTH * y), text, fill, font)
        y += size + 26
    grid(draw, (74, 292, 1186, 480), 24, 4)
    return image.resize(BANNER, Image.Resampling.LANCZOS)


def main() -> None:
    for name, image in (("icon", icon()), ("banner", banner())):
        path = DOCS / f"{name}.png"
        image.quantize(256).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
