"""What an exception of a kernel leaves behind: a sentence, and memory to be given back."""

from __future__ import annotations

import traceback

import torch

# Of CUDA, MPS, cuDNN and cuBLAS, which raise a plain RuntimeError.
MEMORY = ("out of memory", "ALLOC_FAILED")


def words(error: BaseException) -> str:
    """`OutOfMemoryError: CUDA out of memory.`"""
    line = text(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def text(error: BaseException) -> str:
    """All of it, empty where it cannot be had."""
    try:
        return str(error)
    except Exception:  # an exception of a broken package may fail at that, too
        return ""


def release(error: BaseException) -> None:
    """Let go of the tensors that the frames of a failed call hold; after an out-of-memory the cache is freed too."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        traceback.clear_frames(link.__traceback__)
        link.__traceback__ = None  # a frame that still runs cannot be cleared
        link = link.__cause__ or link.__context__
    if any(map(_is_memory, links)):
        torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(part in text(error) for part in MEMORY)
