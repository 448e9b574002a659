"""Timings that the ranks of a run share: whoever meets a call first measures it, the others of its card wait for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import torch.distributed as dist

from ...attention.call import Call
from ...attention.choose.measure.timings import Timing, Timings, key_of

PATIENCE = timedelta(seconds=30)  # Raylight gives a stuck exchange a minute


class _Store(Protocol):
    """What is asked of torch's."""

    def add(self, key: str, amount: int, /) -> int: ...
    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def wait(self, keys: list[str], timeout: timedelta, /) -> None: ...


class Board:
    """What the ranks of a process group tell each other, each thing once. `run` keeps runs apart."""

    def __init__(self, store: _Store, run: str) -> None:
        self._store = store
        self._run = run

    def first(self, key: str) -> bool:
        return self._store.add(f"{self._run} asked {key}", 1) == 1

    def tell(self, key: str, text: str) -> None:
        self._store.set(f"{self._run} {key}", text)

    def told(self, key: str) -> str | None:
        """What another rank tells, None if it does not in time."""
        try:
            self._store.wait([f"{self._run} {key}"], PATIENCE)
        except RuntimeError:  # torch's errors of a store are of that kind
            return None
        return self._store.get(f"{self._run} {key}").decode()


def board(run: str) -> Board | None:
    """Of this process's group, None where there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return None
    return Board(dist.distributed_c10d._get_default_store(), f"wanattn {run}")


class SharedTimings(Timings):
    """Those of one kind of card. The first rank to ask for a call that nobody knows is given nothing, so it measures;
    the others are given what it found."""

    def __init__(self, path: Path | None, machine: str, shared: Board) -> None:
        super().__init__(path, machine)
        self._shared = shared
        self._asked: set[str] = set()

    def claim(self, call: Call) -> dict[str, Timing]:
        known = self.read(call)
        key = f"{self.machine} {key_of(call)}"
        if known or key in self._asked:
            return known
        self._asked.add(key)
        if self._shared.first(key):
            return known
        told = self._shared.told(key)
        if told is not None:
            super().write(call, {name: Timing(**facts) for name, facts in json.loads(told).items()})
        return self.read(call)

    def write(self, call: Call, timings: Mapping[str, Timing]) -> None:
        super().write(call, timings)
        told = {name: asdict(timing) for name, timing in self.read(call).items()}
        self._shared.tell(f"{self.machine} {key_of(call)}", json.dumps(told))
