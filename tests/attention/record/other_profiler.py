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

CPU = [ProfilerActivity.CPU]


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


KINDS = {one.__name__: one for one in (whole, of_autograd, warming_up, ended)}


def main(kind: str) -> None:
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
    print(f"proved {sum(seen)} of 3, then {after is not None}: {' | '.join(dict.fromkeys(notes))}")


if __name__ == "__main__":
    main(sys.argv[1])
