"""A file written whole or not at all, and read without ever waiting for it."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .patience import patiently

END = ".part"  # of a draft's name
DEAD = 60.0  # seconds after which nobody writes to a draft any more


class NotReplaced(OSError):
    """The old file is still there, and the new one is `kept` beside it."""

    def __init__(self, kept: Path) -> None:
        super().__init__(f"saved as '{kept}'")
        self.kept = kept


def write(path: Path, content: str | bytes, keep: bool = False) -> None:
    """Text in UTF-8. Raises OSError as `draft` does."""
    with draft(path, keep) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def draft(path: Path, keep: bool = False) -> Iterator[Path]:
    """A file to write to, which takes the place of `path` at the end. Links are followed.

    Readers see the old file or the new one, never half of it; after an exception the old one is there and nothing else.
    With `keep` a whole new file that cannot take its place, such as one that a spreadsheet on Windows has open, stays
    as `spare(path)`, and NotReplaced is raised.
    """
    part = spare(path) if keep else _own(path)
    try:
        yield part
        _settle(part)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    try:
        patiently(os.replace, part, path.resolve())
    except OSError as error:
        if keep:
            raise NotReplaced(part) from error
        part.unlink(missing_ok=True)
        raise


def spare(path: Path) -> Path:
    """Where `keep` leaves what could not take the place of `path`."""
    target = path.resolve()
    return target.with_name(target.name + END)


def _own(path: Path) -> Path:
    """Nobody else's, in this process or another."""
    target = path.resolve()
    return target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}{END}")


def _settle(part: Path) -> None:
    """On the disk before it gets its name, so that no power cut leaves the name without the content."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())


def sweep(path: Path) -> None:
    """Remove the drafts of `path` that killed processes left behind; what `keep` kept stays."""
    target = path.resolve()
    for part in target.parent.glob(f"{target.name}.*-*{END}"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > DEAD:
                part.unlink()


def read(path: Path, most: int) -> bytes:
    """Raises OSError for what is no regular file, such as a pipe, and ValueError for more than `most` bytes."""
    with patiently(lambda: open(path, "rb", opener=_at_once)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("a pipe or a device, needs a regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes")
    return content


def _at_once(path: str, flags: int) -> int:
    """Opening a pipe waits for a writer else."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
