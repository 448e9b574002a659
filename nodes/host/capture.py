"""Keeps calls of a run, with their tensors, as files in the host's output folder."""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import folder_paths
import psutil

from ...attention import disk
from ...attention.choose.rules import Span, parse_ranges
from ...attention.record.capture import save, size_of
from ...attention.run.forward import Seen
from .report.facts import environment

FOLDER = "wanattn"
GIB = 2**30
SPARE = GIB  # stays free on the disk, for what the run itself saves
SHOWN = 6  # of the calls that were left out for one reason
log = logging.getLogger("wanattn")

Key = tuple[str, str]  # role, block range


def ranges_of(text: str, blocks: int | None = None) -> tuple[Span, ...]:
    """Read the block ranges to capture and, once the model is known, check them against its blocks."""
    try:
        spans = parse_ranges(text)
    except ValueError as error:
        raise ValueError(f"capture: {error}") from error
    for span in spans:
        number = None if blocks is None else span.beyond(blocks)
        if number is not None:
            has = f"blocks 0 to {blocks - 1}" if blocks else "no numbered blocks"
            raise ValueError(f"capture {span}: block {number}, this model has {has}")
    return spans


class Capture:
    """Keeps the first call of each role in each block range, anew for every job, up to `limit` bytes a job.

    Whatever goes wrong becomes a note, never the end of a run. `listener` is called when a size becomes known,
    before anything of it is written.
    """

    def __init__(self, spans: Sequence[Span], limit: int, node: str | None = None) -> None:
        self.spans = tuple(spans)
        self.limit = limit
        self.node = node
        self.listener: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._model = ""
        self._reset(None)

    def _reset(self, job: str | None) -> None:
        self._job = job
        self._number = 0
        self._sizes: dict[str, int] = {}  # bytes of one call, by role
        self._kept: dict[Key, int] = {}
        self._left: dict[Key, str] = {}
        self._seconds: dict[int | None, float] = {}  # by step
        self._over = False

    def begin(self, job: str | None, model: str) -> None:
        """At the start of a run."""
        self._model = model
        if job is None or job != self._job:
            self._reset(job)

    def end(self) -> None:
        self._over = True

    def __call__(self, seen: Seen) -> None:
        span = self._span(seen.place.block)
        if span is None:
            return
        key = (seen.place.role, str(span))
        with self._lock:
            if key in self._kept or key in self._left:
                return
            try:
                self._take(key, seen)
            except Exception as error:  # of the disk, of the memory, of tensors that no file holds
                log.warning("%s %s could not be captured", *key, exc_info=True)
                self._left[key] = _reason(error)

    def _span(self, block: int | None) -> Span | None:
        if block is None:
            return None
        return next((span for span in self.spans if span.holds(block, 0)), None)

    def _take(self, key: Key, seen: Seen) -> None:
        started = time.perf_counter()
        size = size_of(seen.inputs)
        folder = _folder()
        self._number = self._number or _free_number(folder)
        if seen.place.role not in self._sizes:
            self._sizes[seen.place.role] = size
            self.listener()
        folder.mkdir(parents=True, exist_ok=True)
        if reason := self._no_room(folder, size):
            self._left[key] = reason
            return
        self._write(folder, key, seen)
        self._kept[key] = size
        spent = time.perf_counter() - started
        self._seconds[seen.forward.step] = self._seconds.get(seen.forward.step, 0.0) + spent

    def _no_room(self, folder: Path, size: int) -> str:
        if sum(self._kept.values()) + size > self.limit:
            return "over capture_limit_gib"
        free = shutil.disk_usage(folder).free
        if free < size + SPARE:
            return f"{_amount(free)} free on the disk, needs {_amount(size + SPARE)}"
        available = psutil.virtual_memory().available
        if available < 2 * size:  # older safetensors copy the copy
            return f"{_amount(available)} of memory free, needs {_amount(2 * size)}"
        return ""

    def _write(self, folder: Path, key: Key, seen: Seen) -> None:
        """Whole or not at all, and over no other file."""
        role, span = key
        if self._path(folder, role, span).exists():  # another node of the same job was quicker
            self._number = _free_number(folder)
        target = self._path(folder, role, span)
        with disk.draft(target) as part:
            save(part, role, seen.inputs, self._facts(seen))
        log.info("node %s: captured %s", self.node, target.name)

    def _path(self, folder: Path, role: str, span: str) -> Path:
        return folder / f"{_stem(self._number)}_{role}_{span}.safetensors"

    def _facts(self, seen: Seen) -> dict[str, object]:
        record, forward = seen.record, seen.forward
        ran = {name: getattr(record, name, "") for name in ("requested", "active", "evidence")}
        place = {"block": seen.place.block, "step": forward.step, "sigma": forward.sigma}
        facts = {**place, "cond": forward.cond, "model": self._model, "node": self.node}
        why = {"reason": record.reason if record else "", "error": seen.error}
        return {**facts, **ran, **why, **environment()}

    def notes(self, compiled: bool) -> list[str]:
        """What is kept, what is not, and what it costs. `compiled` is whether calls may hide in a graph."""
        notes = [*self._plan(), *self._losses(), *self._cost()]
        if self._over and (missing := self._missing()):
            why = ", calls inside a compiled graph are not seen" if compiled else ""
            notes.append(f"capture: no call came by in blocks {missing}{why}")
        return notes

    def _plan(self) -> list[str]:
        if not self._sizes:
            return []
        calls = len(self._sizes) * len(self.spans)
        size = sum([*self._sizes.values()]) * len(self.spans)
        place = f"{_folder().parent.name}/{FOLDER}/{_stem(self._number)}_*"
        until = "the same again for every queued run until capture is emptied"
        notes = [f"capture: {_count(calls, 'call')}, {_amount(size)}, into {place}; {until}"]
        if size > self.limit:
            limit = f"capture_limit_gib is {self.limit / GIB:g}"
            notes.append(f"capture: all need {_amount(size)}, {limit}: raise it, or capture less")
        return notes

    def _losses(self) -> list[str]:
        reasons: dict[str, list[str]] = {}
        for (role, span), reason in [*self._left.items()]:
            reasons.setdefault(reason, []).append(f"{role} {span}")
        return [f"capture: left out {_few(calls)}: {reason}" for reason, calls in reasons.items()]

    def _cost(self) -> list[str]:
        if not self._kept:
            return []
        seconds = [*self._seconds.items()]
        steps = ", ".join(str(step) for step, _ in seconds if step is not None)
        spent = sum(spent for _, spent in seconds)
        inside = f"which is in the time of step {steps}" if steps else "which is in the run's time"
        return [f"capture: {_count(len(self._kept), 'file')} written in {spent:.1f} s, {inside}"]

    def _missing(self) -> str:
        met = {span for _, span in (*self._kept, *self._left)}
        return ", ".join(str(span) for span in self.spans if str(span) not in met)


def _folder() -> Path:
    return Path(folder_paths.get_output_directory()) / FOLDER


def _stem(number: int) -> str:
    return f"capture_{number:05}"


def _free_number(folder: Path) -> int:
    found = (re.match(r"capture_([0-9]{5,9})_", path.name) for path in folder.glob("capture_*"))
    return max((int(match[1]) for match in found if match), default=0) + 1


def _reason(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error)
    return str(words).strip().partition("\n")[0] or type(error).__name__


def _amount(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
