"""A process in which another thread profiles while attention calls are proved: python other_profiler.py KIND

It ends well only if ours did not start beside the other one, which torch does not survive.
"""

from __future__ import annotations

import runpy
import sys
import threading
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

runpy.run_path(str(Path(__file__).resolve().parents[2] / "conftest.py"))

from wanattn.attention.record.evidence import watch  # noqa: E402
from wanattn.attention.record.profilers import STARTS  # noqa: E402

CPU = [ProfilerActivity.CPU]
MANY = 300


def whole(started: threading.Event, over: threading.Event) -> None:
    with profile(activities=CPU):
        started.set()
        over.wait(60)


def of_autograd(started: threading.Event, over: threading.Event) -> None:
    with torch.autograd.profiler.profile(use_kineto=False):
        started.set()
        over.wait(60)


def warming_up(started: threading.Event, over: threading.Event) -> None:
    session = profile(activities=CPU, schedule=schedule(wait=0, warmup=1, active=1, repeat=1))
    session.start()
    started.set()
    over.wait(60)
    session.step()
    torch.ones(4).sum()
    session.stop()


def ended(started: threading.Event, over: threading.Event) -> None:
    with profile(activities=CPU):
        torch.ones(4).sum()
    started.set()
    over.wait(60)


def again_and_again(over: threading.Event) -> None:
    while not over.wait(0.002):
        with profile(activities=CPU):
            torch.ones(4).sum()


KINDS = {one.__name__: one for one in (whole, of_autograd, warming_up, ended)}


def meanwhile() -> None:
    """It starts within a call of ours, waits for its end and then sees all that is its own; then another, again and again."""
    names: list[str] = []

    def users() -> None:
        with profile(activities=CPU) as session:
            torch.ones(4).sum()
        names.extend(event.name for event in session.events())

    other = threading.Thread(target=users)

    def run() -> torch.Tensor:
        other.start()
        other.join(0.2)
        return torch.ones(2) if other.is_alive() else torch.zeros(2)

    before = [getattr(torch.autograd.profiler, name) for name in STARTS]
    result, sighting = watch(run, torch.device("cpu"))
    other.join(60)
    waited, proved, seen = bool(result.all()), sighting is not None, "aten::sum" in names
    restored = before == [getattr(torch.autograd.profiler, name) for name in STARTS]
    beside_many()
    print(f"waited {waited}, proved {proved}, seen {seen}, restored {restored}")


def beside_many() -> None:
    over = threading.Event()
    other = threading.Thread(target=again_and_again, args=(over,))
    other.start()
    for _ in range(MANY):
        watch(lambda: torch.ones(2), torch.device("cpu"))
    over.set()
    other.join(60)


def main(kind: str) -> None:
    if kind == "meanwhile":
        return meanwhile()
    started, over, notes = threading.Event(), threading.Event(), []
    other = threading.Thread(target=KINDS[kind], args=(started, over))
    other.start()
    started.wait(60)
    q = torch.randn(1, 2, 16, 64)
    seen = []
    for _ in range(3):
        _, sighting = watch(
            lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q),
            q.device,
            notes.append,
        )
        seen.append(sighting is not None)
    over.set()
    other.join(60)
    _, after = watch(lambda: q @ q.mT, q.device, notes.append)
    print(
        f"proved {sum(seen)} of {len(seen)}, then {after is not None}: {' | '.join(dict.fromkeys(notes))}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
