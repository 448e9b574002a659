"""The signals that end a benchmark: Ctrl-C, a closed terminal, a system that shuts down."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

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
