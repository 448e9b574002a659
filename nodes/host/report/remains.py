"""What is left of a run whose process was killed: kept beside the reports while it goes on, told at the next start."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import threading
import time
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import folder_paths
import psutil

from ....attention import disk
from .files import DEFAULT_PREFIX, brief, waiting_prefixes, write

START = ".running_"  # of the name of such a file
SECONDS_BETWEEN_WRITES = 3.0
MOST_BYTES = 2**26
FOREIGN_SECONDS = 3600.0  # after which a file of another machine is nobody's any more
CUT_OFF = "cut off: the server's process ended in the middle of this run; this is what was known at"
log = logging.getLogger("wanattn")


class Remains:
    """The newest state of one node's runs in a file; written by a thread of its own, so that no call waits for a disk."""

    def __init__(self, node: str | None) -> None:
        self._node = node
        self._next = 0.0
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._path: Path | None = None

    def begin(self) -> None:
        self._ended.clear()
        self._next = 0.0

    def keep(self, payload: dict, job: str | None, reported: Collection[str | None]) -> None:
        """Every few seconds at most once there are calls, and not while an earlier state is still on its way to the disk."""
        now = time.monotonic()
        if now < self._next or self._node is None or self._writing.locked():
            return
        self._next = now + SECONDS_BETWEEN_WRITES if payload["calls"] else now
        prefixes = waiting_prefixes(self._node, job, reported)
        told = {"job": job, "prefixes": prefixes, "payload": payload}
        thread = threading.Thread(target=self._write, args=(told,), daemon=True)
        thread.start()

    def drop(self) -> None:
        """The report is written, or nobody waits for one."""
        self._ended.set()
        with self._writing:
            self._remove()

    def _write(self, told: dict) -> None:
        with self._writing:
            try:
                content = json.dumps({**_process(), **told})
                self._path = _folder() / f"{START}{os.getpid()}_{_plain(self._node)}.json"
                if self._ended.is_set():
                    return
                self._path.parent.mkdir(parents=True, exist_ok=True)
                disk.write(self._path, content)
            except (OSError, TypeError, ValueError) as error:  # a run never ends for this
                log.debug("node %s: its state could not be kept (%s)", self._node, error)

    def _remove(self) -> None:
        try:
            if self._path:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            log.debug("%s could not be removed (%s)", self._path, error)


def recover() -> list[str]:
    """Write the reports of runs that were cut off; the names of their files. Nothing here ends a start of the host."""
    left = {}
    try:
        for path in sorted(_folder().glob(f"{START}*.json")):
            told = _read(path)
            if told:
                left[path] = told
        written = [name for path, told in left.items() for name in _told(path, told, left)]
    except OSError as error:
        log.warning("what was left of a run could not be told (%s)", error)
        return []
    for path in left:
        path.unlink(missing_ok=True)
    if written:
        log.warning("a run was cut off when the server's process ended: %s", ", ".join(written))
    return written


def _read(path: Path) -> dict | None:
    """None for a run that goes on in another process, and for a file that nobody of ours wrote."""
    try:
        told = json.loads(disk.read(path, MOST_BYTES))
        moment = path.stat().st_mtime
        if _alive(told, moment):
            return None
        prefixes = [str(prefix) for prefix in told["prefixes"]]
        job, payload = told["job"], marked(told["payload"], moment)
        return {
            "job": str(job),
            "prefixes": prefixes,
            "payload": payload,
            "calls": payload["calls"],
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        log.warning("what was left of a run could not be read: %s (%s)", path.name, error)
        return None


def _told(path: Path, told: dict, left: dict[Path, dict]) -> list[str]:
    """Several nodes watch one model: those that a report waits for tell of the job, else the one that saw most."""
    beside = [other for other in left.values() if other["job"] == told["job"]]
    waiting = any(other["prefixes"] for other in beside)
    if waiting and not told["prefixes"]:
        return []
    if not waiting and told is not max(beside, key=lambda other: other["calls"]):
        return []
    names = []
    for prefix in told["prefixes"] or [DEFAULT_PREFIX]:
        try:
            names += write(None, told["payload"], prefix)
        except (
            Exception
        ) as error:  # the host raises a bare one for a folder outside its output folder
            log.warning("%s: no report in %s (%s)", path.name, brief(prefix), error)
    return names


def marked(payload: dict, moment: float) -> dict:
    """A payload of a run that went on, as one that was cut off at a moment of the system's clock."""
    at = datetime.fromtimestamp(moment).astimezone().isoformat(sep=" ", timespec="seconds")
    runs = [{**run, "state": _ended(run["state"])} for run in payload.get("runs") or []]
    notes = [f"{CUT_OFF} {at}", *(payload.get("notes") or [])]
    return {**payload, "state": _ended(payload.get("state", "")), "runs": runs, "notes": notes}


def _ended(state: str) -> str:
    return "interrupted" if state == "running" else state


def _process() -> dict:
    began = psutil.Process().create_time()
    return {"process": os.getpid(), "began": began, "machine": platform.node()}


def _alive(told: dict, moment: float) -> bool:
    """Whether the process that wrote this still runs; two servers may share an output folder."""
    if told.get("machine") != platform.node():
        return time.time() - moment < FOREIGN_SECONDS
    try:
        return abs(psutil.Process(told["process"]).create_time() - told["began"]) < 1.0
    except psutil.Error:
        return False


def _folder() -> Path:
    return Path(folder_paths.get_output_directory(), "wanattn")


def _plain(node: str | None) -> str:
    """The name of a node as part of a file's."""
    return re.sub(r"[^0-9A-Za-z]", "-", str(node))[:60]
