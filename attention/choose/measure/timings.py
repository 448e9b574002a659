"""How fast each backend was on this machine, kept between runs in one small file."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from filelock import FileLock, Timeout

from ... import disk
from ...call import Call
from ...environment import probe

log = logging.getLogger("wanattn")

KIND = "wanattn timings"
SCHEMA = 1
LOCK_SECONDS = 2.0  # how long to wait for another process; writing takes milliseconds
POLL_SECONDS = 0.005
MOST_LETTERS = 200  # of what is wrong with a file
MOST_BYTES = 16 * 2**20  # of the file: about a hundred thousand timings
SHORTEST, LONGEST = (
    1e-6,
    1e12,
)  # milliseconds that a measurement can give; no error is larger either
FASTEST = 1e16  # floating-point operations a second, several times what any card does


@dataclass(frozen=True, slots=True)
class Timing:
    """`milliseconds` is the median of a call, `first` the first call with plan building or compilation.

    `error` is the relative error where it was measured; `version` the kernel package's.
    """

    milliseconds: float
    first: float
    error: float | None = None
    version: str = ""


def key_of(call: Call) -> str:
    """Calls of one key are taken to be equally fast: lengths count to within 4 %, everything else exactly."""
    heads = f"{call.heads}/{call.kv_heads}"
    dims = f"{call.head_dim}/{call.value_dim}"
    lengths = f"{bucket(call.q_len)}x{bucket(call.kv_len)}"
    return f"{call.dtype_name} {call.batch}x{heads}x{dims} {lengths} mask {call.mask}"


def bucket(length: int) -> int:
    """The lower edge of a sixteenth of an octave; short lengths stay exact."""
    if length <= 512:
        return length
    return math.floor(2 ** (math.floor(math.log2(length) * 16) / 16))


def default_path() -> Path:
    """The platform's cache folder, for use without a host."""
    home = Path.home()
    if sys.platform == "win32":
        return home / "AppData" / "Local" / "wanattn" / "timings.json"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "wanattn" / "timings.json"
    return home / ".cache" / "wanattn" / "timings.json"


def own_timings(device: str, forget: bool = False) -> Timings:
    """Of one device, for use without a host. `forget`: what is known already is measured anew, and then kept."""
    return Timings(default_path(), probe().machine(device), forget)


class Timings:
    """Timings of one machine, in memory and, with a path, on disk.

    The file is only ever a saving of time: whatever is wrong with it becomes a sentence in `problem` and the
    log, and measuring goes on. Several processes may write it. With `forget` it is not read, only added to.
    """

    def __init__(self, path: Path | None, machine: str, forget: bool = False) -> None:
        self.path = path
        self.machine = machine
        self.problem = ""
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Timing]] = {}
        self._loaded = forget or path is None
        self._patience = LOCK_SECONDS

    def read(self, call: Call) -> dict[str, Timing]:
        """By backend name; empty where nothing was measured."""
        with self._lock:
            if self.path and not self._loaded:
                self._known = self._found(self.path).get(self.machine, {})
                self._loaded = True
            return self._credible(call, self._known.get(key_of(call), {}))

    def claim(self, call: Call) -> dict[str, Timing]:
        """As `read`, for whoever will measure what is not known."""
        return self.read(call)

    def write(self, call: Call, timings: Mapping[str, Timing]) -> None:
        """Add to what is known, here and on disk."""
        self.read(call)
        with self._lock:
            self._known.setdefault(key_of(call), {}).update(self._credible(call, timings))
            if self.path:
                self._save(self.path)

    def _credible(self, call: Call, timings: Mapping[str, Timing]) -> dict[str, Timing]:
        """A time that no card could reach would win for good."""
        least = call.flops / FASTEST * 1e3
        good = {name: timing for name, timing in timings.items() if timing.milliseconds >= least}
        for name in timings.keys() - good.keys():
            self._tell(
                f"{name} {timings[name].milliseconds:.1e} ms for {key_of(call)}, needs at least {least:.1e}; not used"
            )
        return good

    def _found(self, path: Path) -> dict[str, dict[str, dict[str, Timing]]]:
        try:
            return self._load(path)
        except OSError as error:
            self._tell(f"{path.name} cannot be read ({_words(error)}); timings are measured anew")
        return {}

    def _load(self, path: Path) -> dict[str, dict[str, dict[str, Timing]]]:
        """OSError for a file that is there and cannot be read: it must not be written over."""
        try:
            return parse(disk.read(path, MOST_BYTES).decode("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            self._set_aside(path, error)
        return {}

    def _set_aside(self, path: Path, error: ValueError | str) -> None:
        """Keep the file for whoever wants to know, out of the way."""
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}"
        aside = path.with_name(f"{path.name}.damaged-{stamp}")
        error = str(error)[:MOST_LETTERS]  # it may quote what the file holds
        try:
            os.replace(path, aside)
        except OSError as failure:
            self._tell(f"{path.name}: {error}; it cannot be moved away either ({_words(failure)})")
        else:
            self._tell(f"{path.name}: {error}; moved to {aside.name}, timings are measured anew")

    def _save(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone(path.with_name(path.name + ".lock")):
                disk.sweep(path)
                machines = self._load(path)  # another process may have added to it
                mine = machines.setdefault(self.machine, {})
                for key, timings in self._known.items():
                    mine.setdefault(key, {}).update(timings)
                disk.write(path, render(machines))
        except OSError as error:
            self._tell(
                f"{path.name} cannot be written ({_words(error)}); timings are kept in memory only"
            )

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Hold a lock file; go on without it if another process does not let go, since the writing is atomic."""
        lock = FileLock(path)
        try:
            lock.acquire(timeout=self._patience, poll_interval=POLL_SECONDS)
        except Timeout:
            self._patience = 0.0  # nor is the next one waited for
            self._tell(f"{path.name} is held by another program; timings are written all the same")
        except NotImplementedError:  # a network drive without locks
            pass
        else:
            self._patience = LOCK_SECONDS
        try:
            yield
        finally:
            lock.release()

    def _tell(self, problem: str) -> None:
        """Notes of nodes and reports go without the folder, which is nobody's business."""
        if problem != self.problem:
            log.warning("%s (in %s)", problem, self.path and self.path.parent)
        self.problem = problem


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def render(machines: Mapping[str, Mapping[str, Mapping[str, Timing]]]) -> str:
    plain = {
        machine: {
            key: {name: asdict(timing) for name, timing in timings.items()}
            for key, timings in keys.items()
        }
        for machine, keys in machines.items()
    }
    return json.dumps({"kind": KIND, "schema": SCHEMA, "machines": plain}, indent=1, sort_keys=True)


def parse(text: str) -> dict[str, dict[str, dict[str, Timing]]]:
    """Raise ValueError with what is wrong, unless every single value is what it has to be."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    document = _table(document, "the file")
    if document.get("kind") != KIND:
        raise ValueError(f"not a file of this kind, needs kind '{KIND}'")
    if document.get("schema") != SCHEMA:
        raise ValueError(f"schema {document.get('schema')!r}, needs {SCHEMA}")
    return {
        machine: {
            key: {
                name: _timing(value, f"{key}, {name}")
                for name, value in _table(timings, key).items()
            }
            for key, timings in _table(keys, machine).items()
        }
        for machine, keys in _table(document.get("machines"), "machines").items()
    }


def _table(value: object, where: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not a table")
    return value


def _timing(value: object, where: str) -> Timing:
    table = _table(value, where)
    if set(table) != {field.name for field in fields(Timing)}:
        raise ValueError(f"{where} has the fields {', '.join(sorted(table)) or 'none'}")
    times, error = (table["milliseconds"], table["first"]), table["error"]
    bounded = all(_within(time, SHORTEST) for time in times)
    if not (bounded and (error is None or _within(error, 0))):
        raise ValueError(f"{where} holds a number that no measurement gives")
    if not isinstance(table["version"], str):
        raise ValueError(f"{where} has version {table['version']!r}, needs text")
    return Timing(**table)


def _within(value: object, least: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return least <= value <= LONGEST
