"""RAY_ACTORS with settings: what runs on them is bracketed by what puts the settings on each model and takes them off.

Actors outlive a graph, so nothing may stay in them; the settings are a matter of the wire.
"""

from __future__ import annotations

import sys
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import folder_paths
from comfy_execution.utils import get_executing_context

from ...attention.choose.policy import Policy
from ...attention.choose.rules import Rule
from ...version import __version__
from ..host.override import KEY
from .sent import sent

WORKERS = "workers"
SAMPLES = "sampler"  # in the names of an actor's methods that sample


@dataclass(frozen=True, slots=True)
class Settings:
    """Those of one Attention Backend (Raylight)."""

    policy: Policy
    rules: tuple[Rule, ...] = ()

    def plain(self, run: str) -> dict:
        """For an actor: it cannot read what is of a class of this pack before the pack is there."""
        rules = [(r.role, _text(r.blocks), _text(r.steps), r.backend) for r in self.rules]
        path = Path(folder_paths.get_user_directory(), "wanattn", "timings.json")
        facts = {"policy": asdict(self.policy), "rules": rules}
        return {**facts, "run": run, "timings": str(path)}


class Session:
    """One node's sampler calls of the current job. `taken` holds, for each, what every rank will report."""

    def __init__(self, node: str | None, handles: list, settings: Settings) -> None:
        self.node = node
        self.handles = handles
        self.settings = settings
        self.job: str | None = None
        self.taken: list[dict[int, object]] = []
        self._begun = [0] * len(handles)
        self._calls = 0

    def ready(self) -> list[dict]:
        """Raises where an actor has not got the pack, in its words."""
        return _ray().get([_on(h, "ready", __version__) for h in self.handles])

    def begin(self, rank: int) -> None:
        """Before a rank samples. The first to do so has all of them begin, so that none waits for one that cannot."""
        self._begun[rank] += 1
        if self._begun[rank] <= self._calls:
            return
        self._calls += 1
        self._new_job()
        settings = self.settings.plain(uuid.uuid4().hex)
        try:
            _ray().get([_on(handle, "begin", settings) for handle in self.handles])
        except Exception:
            self.withdraw()
            raise
        self.taken.append({})

    def end(self, rank: int) -> None:
        """Right after a rank was told to sample: an actor does one thing after the other."""
        self.taken[-1][rank] = _on(self.handles[rank], "take")

    def withdraw(self) -> None:
        """Where a rank cannot begin, or cannot be told to sample, none keeps the settings."""
        for handle in self.handles:
            _on(handle, "take")

    def reports(self) -> list[dict[int, dict | str]]:
        """A dictionary by rank for each sampler call; a sentence in the place of a report that did not come."""
        return [{rank: _got(ref) for rank, ref in call.items()} for call in self.taken]

    def _new_job(self) -> None:
        context = get_executing_context()
        job = context and context.prompt_id
        if job is None or job != self.job:
            self.job = job
            self.taken.clear()


class Worker:
    """An actor as it goes through the graph: itself in all but its sampling."""

    _handle: object
    _rank: int
    _session: Session

    def __init__(self, handle, rank: int, session: Session) -> None:
        self._handle = handle
        self._rank = rank
        self._session = session

    def __getattr__(self, name: str):
        if name in vars(Worker).get("__annotations__", {}):  # a copy that is being made
            raise AttributeError(name)
        method = getattr(self._handle, name)
        if SAMPLES not in name:
            return method
        return Sampling(method, self._rank, self._session)

    def __eq__(self, other: object) -> bool:
        return self._handle == (other._handle if isinstance(other, Worker) else other)

    def __hash__(self) -> int:
        return hash(self._handle)


class Sampling:
    """A method of an actor that samples."""

    def __init__(self, method, rank: int, session: Session) -> None:
        self._method = method
        self._rank = rank
        self._session = session

    def remote(self, *args, **kwargs):
        self._session.begin(self._rank)
        try:
            result = self._method.remote(*args, **kwargs)
        except Exception:
            self._session.withdraw()
            raise
        self._session.end(self._rank)
        return result


def with_settings(ray_actors: dict, node: str | None, settings: Settings) -> dict:
    """The same actors under these settings; those of a node upstream no longer apply. RuntimeError as of `ready`."""
    handles = [w._handle if isinstance(w, Worker) else w for w in ray_actors[WORKERS]]
    session = Session(node, handles, settings)
    session.ready()
    workers = [Worker(handle, rank, session) for rank, handle in enumerate(handles)]
    return {**ray_actors, WORKERS: workers, KEY: session}


def session_of(ray_actors: dict) -> Session | None:
    return ray_actors.get(KEY)


def _on(handle, entry: str, *given):
    return handle.model_function_runner_get_values.remote(sent(entry), *given)


def _got(ref) -> dict | str:
    try:
        return _ray().get(ref) or "its model was replaced while it sampled"
    except Exception as error:  # whatever an actor died of
        line = str(error).strip().rpartition("\n")[2]
        return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _ray():
    """Raylight has loaded it, or there would be no actors."""
    return sys.modules["ray"]


def _text(spans) -> str:
    return ",".join(map(str, spans))
