"""What a command says to its console, and the signals that end it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

INTERRUPTED, STOPPED = 130, "stopped"  # what a shell reports for Ctrl-C
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # not every system has them all


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Meanwhile the first of them raises KeyboardInterrupt and the others are ignored, so that results can be kept.

    Gives a function that has all of them ignored from then on.
    """
    before: dict[int, object] = {}

    def deafen() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    def stop(number: int, frame: object) -> None:
        deafen()
        raise KeyboardInterrupt

    try:
        with suppress(ValueError):  # signals are for the main thread
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                handler = signal.getsignal(number)
                if handler not in (None, signal.SIG_IGN):  # nohup has it ignored
                    before[number] = signal.signal(number, stop)
        yield deafen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]


def say(text: str, stream=None) -> None:
    """Names from workflows and other packs may hold what a console cannot show."""
    stream = stream or sys.stdout
    if stream is None:  # closed, as under some launchers
        return
    encoding = getattr(stream, "encoding", None) or "ascii"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
