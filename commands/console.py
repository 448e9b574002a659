"""What a command says to its console, and the signals that end it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

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


@contextmanager
def without_profiler_lines() -> Iterator[TextIO]:
    """Meanwhile what torch's profiler writes to the console for itself is dropped, whatever else is written passes.

    It writes past Python, so the console's own channel is led through a thread. Gives a stream that goes around it.
    """
    try:
        console = os.dup(STDERR)
        out, inlet = os.pipe()
        os.dup2(inlet, STDERR)
        os.close(inlet)
    except OSError:  # there is no console, as under some launchers
        yield sys.stderr
        return
    passing = threading.Thread(target=_pass_on, args=(out, console), daemon=True)
    passing.start()
    try:
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        with open(os.dup(console), "w", encoding=encoding, errors="replace") as stream:
            yield stream
    finally:
        if sys.stderr:
            sys.stderr.flush()
        os.dup2(console, STDERR)  # the inlet was open here alone, so this ends the thread
        passing.join(timeout=5)
        os.close(console)


STDERR = 2
PROFILER = b"USDT:"


def _pass_on(out: int, console: int) -> None:
    with open(out, "rb", buffering=0) as lines:
        for line in iter(lines.readline, b""):
            if not line.startswith(PROFILER):
                os.write(console, line)
