"""wanattn compare: how far two pictures or videos are from each other, frame by frame, in PSNR and SSIM."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .frames import LOSSY, absence, files

if TYPE_CHECKING:
    from numpy import ndarray

WHITE = 255
LEAST_SIDE = 11  # of the window that SSIM looks through
# The window of Wang et al. 2004, as most tools take it; scikit-image's own is another.
WINDOW = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@dataclass(frozen=True, slots=True)
class Distance:
    """Of two frames. `error` is the mean squared one of values from 0 to 255, `largest` the largest of one value."""

    frame: int
    size: str
    error: float
    ssim: float
    largest: int

    @property
    def psnr(self) -> float:
        """In dB, infinite for equal frames."""
        return decibels(self.error)


def decibels(error: float) -> float:
    return 10 * math.log10(WHITE**2 / error) if error else math.inf


def paired(first: Iterable[ndarray], second: Iterable[ndarray]) -> Iterator[tuple]:
    """Raises ValueError where the two have not the same frames."""
    for number, (a, b) in enumerate(zip_longest(first, second), 1):
        if a is None or b is None:
            shorter = "the first" if a is None else "the second"
            raise ValueError(f"{shorter} ends after frame {number - 1}, needs as many as the other")
        if a.shape != b.shape:
            raise ValueError(
                f"frame {number} is {_size(b)} in the second, needs {_size(a)} as in the first"
            )
        yield a, b


def distances(pairs: Iterable[tuple[ndarray, ndarray]]) -> Iterator[Distance]:
    """RuntimeError without scikit-image."""
    for number, (a, b) in enumerate(pairs, 1):
        yield _distance(number, a, b)


def _distance(number: int, a: ndarray, b: ndarray) -> Distance:
    try:
        from skimage import metrics  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RuntimeError(absence("scikit-image", error)) from error
    if min(a.shape[:2]) < LEAST_SIDE:
        raise ValueError(f"frames of {_size(a)}, need {LEAST_SIDE} pixels a side for SSIM")
    error = float(metrics.mean_squared_error(a, b))
    # The library says what else it may give where more is asked for.
    likeness: Any = metrics.structural_similarity(
        a, b, channel_axis=-1, data_range=WHITE, **cast("Any", WINDOW)
    )
    largest = int(abs(a.astype("int16") - b.astype("int16")).max())
    return Distance(number, _size(a), error, float(likeness), largest)


def _size(frame: ndarray) -> str:
    height, width = frame.shape[:2]
    return f"{width}x{height}"


def halves(frames: Iterable[ndarray], gap: int) -> Iterator[tuple[ndarray, ndarray]]:
    """Of frames that hold two pictures side by side, `gap` columns apart, as the template's video does."""
    for frame in frames:
        width, odd = divmod(frame.shape[1] - gap, 2)
        if gap < 0 or width < 1 or odd:
            raise ValueError(
                f"frames of {_size(frame)} with a gap of {gap}, need two pictures of one width"
            )
        yield frame[:, :width], frame[:, -width:]


def text(found: Sequence[Distance], paths: Sequence[Path]) -> str:
    count = "1 frame" if len(found) == 1 else f"{len(found)} frames"
    if not any(distance.largest for distance in found):
        return f"{count} of {found[0].size}: the same in every value."
    whole = decibels(_mean([distance.error for distance in found]))
    unlike = min(found, key=lambda distance: distance.ssim)
    noisy = max(found, key=lambda distance: distance.error)
    furthest = max(found, key=lambda distance: distance.largest)
    lines = [
        f"{count} of {found[0].size}",
        f"PSNR  {whole:.2f} dB over all, least {noisy.psnr:.2f} dB in frame {noisy.frame}",
        f"SSIM  {_mean([each.ssim for each in found]):.4f} on average, least {unlike.ssim:.4f} in frame {unlike.frame}",
        f"Furthest apart is one value by {furthest.largest} of {WHITE}, in frame {furthest.frame}.",
        *_loss(paths),
    ]
    return "\n".join(lines)


def _loss(paths: Sequence[Path]) -> list[str]:
    saved = {file.suffix.lower() for path in paths for file in files(path)} & set(LOSSY)
    if not saved:
        return []
    return [f"Saving as {', '.join(sorted(saved))} may lose detail, which is in these figures too."]


def plain(found: Sequence[Distance]) -> dict:
    """For a program that reads it. PSNR is null where it is infinite."""
    return {
        "psnr": _finite(decibels(_mean([each.error for each in found]))),
        "ssim": _mean([each.ssim for each in found]),
        "frames": [{**asdict(each), "psnr": _finite(each.psnr)} for each in found],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
