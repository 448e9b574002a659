"""The frames of a picture, an animation, a video, or a folder of pictures, one after another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..attention.backends.packages import pip

if TYPE_CHECKING:
    from numpy import ndarray

PICTURES = (".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
VIDEOS = (".mp4", ".webm", ".mkv", ".mov", ".avi")
LOSSY = (*VIDEOS, ".webp", ".gif", ".jpg", ".jpeg")  # webp has both ways


def frames(path: Path) -> Iterator[ndarray]:
    """[height, width, 3] of 8 bits each. Raises ValueError for what is none, RuntimeError for a missing package."""
    for file in files(path):
        yield from _video(file) if file.suffix.lower() in VIDEOS else _picture(file)


def files(path: Path) -> list[Path]:
    """The file itself, or the pictures of a folder in the order of their numbers."""
    if not path.is_dir():
        if not path.exists():
            raise ValueError(f"'{path}' is not there, needs a picture, a video or a folder")
        if path.suffix.lower() not in (*PICTURES, *VIDEOS):
            raise ValueError(f"'{path}', needs one of {', '.join((*PICTURES, *VIDEOS))}")
        return [path]
    found = [entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES]
    if not found:
        raise ValueError(f"'{path}' holds no picture, needs one of {', '.join(PICTURES)}")
    return sorted(found, key=_number)


def _number(path: Path) -> list[tuple[int, str]]:
    """So that frame 10 comes after frame 9."""
    return [(int(word or 0), text) for text, word in re.findall(r"(\D*)(\d*)", path.name)]


def _picture(path: Path) -> Iterator[ndarray]:
    try:
        import numpy
        from PIL import Image
    except ImportError as error:
        raise RuntimeError(absence("pillow", error)) from error
    try:
        with Image.open(path) as picture:
            for number in range(getattr(picture, "n_frames", 1)):
                picture.seek(number)
                yield numpy.asarray(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read as a picture ({error})") from error


def _video(path: Path) -> Iterator[ndarray]:
    try:
        import av  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RuntimeError(absence("av", error)) from error
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (OSError, ValueError, IndexError) as error:  # av's own are the first two
        raise ValueError(f"'{path}' cannot be read as a video ({error})") from error


def absence(project: str, error: ImportError) -> str:
    return (
        f"compare needs {project}, which does not load ({error}); install it with: {pip(project)}"
    )
