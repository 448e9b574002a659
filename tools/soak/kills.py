"""Servers that are killed, and servers that find hostile files where their own should be."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

from tests.host.server import Server, wait_until

from .hostile import FILES
from .jobs import Job, checked, drawn, run

CUT_OFF = "cut off:"  # how the note of a run begins whose process was killed


def killed(server: Server, chance: random.Random, key: str) -> list[str]:
    """Kills a server in the middle of a run and starts it again; sentences for what is lost then."""
    job = Job(key, chance.choice(("flash", "math")), sampling={"steps": 5000, "seed": 1})
    prompt_id = server.queue(job.graph())
    wait_until(lambda: _begun(server, prompt_id), 60, server.log)
    wait_until(lambda: _recorded(server), 60, lambda: "nothing was kept of a run that goes on")
    time.sleep(chance.uniform(0.0, 4.0))
    server.kill()
    wrong = [f"lost file: {path.name} is not whole" for path in _broken(server)]
    server.start()
    again = drawn(chance, f"{key}-after")
    found, _ = checked(server, again, run(server, again))
    return wrong + found + _kept(server, job)


def _begun(server: Server, prompt_id: str) -> bool:
    return any(item[1] == prompt_id for item in server.get("/queue")["queue_running"])


def _notes(server: Server) -> list[Path]:
    return list((server.output / "wanattn").glob(".running_*.json"))


def _recorded(server: Server) -> bool:
    """Whether what is kept of the run that goes on has calls in it already."""
    try:
        kept = [_calls(path, "payload") for path in _notes(server)]
        return bool(kept) and all(kept)
    except FileNotFoundError:  # another one takes its place
        return False


def _broken(server: Server) -> list[Path]:
    """JSON files of ours that cannot be read."""
    found = [*server.output.rglob("*.json"), *(server.base / "user" / "wanattn").glob("*.json")]
    return [path for path in found if not _readable(path)]


def _readable(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _kept(server: Server, job: Job) -> list[str]:
    """What the killed run recorded has to be there, marked as such, and nothing else has to be left."""
    reports = [path for path in server.output.rglob("*.json") if _cut_off(path)]
    wrong = [] if reports else [f"lost file: nothing of {job.key} after the restart"]
    wrong += [f"lie: {path.name} has no calls" for path in reports if not _calls(path)]
    wrong += [f"left behind: {path.name}" for path in _notes(server)]
    for path in reports:
        path.unlink()
    return wrong


def _cut_off(path: Path) -> bool:
    payload = json.loads(path.read_text(encoding="utf-8"))
    return any(note.startswith(CUT_OFF) for note in payload.get("notes", ()))


def _calls(path: Path, *place: str) -> int:
    told = json.loads(path.read_text(encoding="utf-8"))
    for name in place:
        told = told[name]
    return told["calls"]


def hostile_file(server: Server, chance: random.Random, key: str, kind: str) -> list[str]:
    """Puts something else in the place of the measured times; the next run with `auto` must not mind."""
    path = server.base / "user" / "wanattn" / "timings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _removed(path)
    FILES[kind](path)
    try:
        job = drawn(chance, key, backend="auto")
        wrong, _ = checked(server, job, run(server, job))
    finally:
        _removed(path)
    return wrong


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
