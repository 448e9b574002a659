# ruff: noqa: E402
"""How far `auto` is from the best exact backend, in every case of the Wan 2.2 matrix.

    python tools/figures/regret.py --out regret.json

In each case the tuner runs as it does on the first call of a shape, with nothing remembered. Then every backend that
may run is timed again, and those within a third of the best (an eighth for long calls) again and again, in turns,
each time behind matrix products and with no more calls than the host can queue meanwhile; regret is the time of the
tuner's choice in that second measurement, over the best in it, less one. `tuning` is what the tuner took, without the
first calls.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pack import load_pack

load_pack()

from wanattn.attention.backends import BACKENDS
from wanattn.attention.call import Call, Inputs
from wanattn.attention.choose.measure.matmul import BusyTimer
from wanattn.attention.choose.measure.tuner import tune
from wanattn.attention.choose.measure.turns import rounds
from wanattn.attention.choose.policy import Policy, eligible
from wanattn.attention.environment import probe
from wanattn.attention.wan import TEXT_TOKENS, VARIANTS, Video
from wanattn.bench.race.case import Case

SIZES = ["480x832", "640x640", "720x1280", "832x1216"]
FRAMES = [25, 49, 81, 121]
MODELS = {name.upper(): variant for name, variant in VARIANTS.items()}
CLOSE = 1.33  # times the best: what is measured more than once more
CLOSE_LONG = 1.12  # for calls of more than LONG milliseconds, which one measurement shows well
LONG = 20.0
BURST = 20.0  # milliseconds of one measurement
AHEAD = 10.0  # milliseconds of matrix products before each
HOST_LOOKS = 5
LEAST_WORK = 400  # milliseconds of the second measurement, for the short calls
MOST_ROUNDS = 31


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="HEIGHTxWIDTH")
    parser.add_argument("--frames", nargs="+", type=int, default=FRAMES)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument("--roles", nargs="+", default=["self", "text"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--seconds", type=float, default=420, help="stop before a new case after this long"
    )
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.set_default_device(options.device)
    print(f"{json.dumps(probe().facts())}\n")
    print(
        "| model | size | frames | role | dtype | tokens | auto | ms | best | ms | regret | tuning ms | others |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    rows, began = [], time.perf_counter()
    for case in cases(options):
        if time.perf_counter() - began > options.seconds:
            print(f"stopped after {len(rows)} cases: {options.seconds:.0f} s are over")
            break
        rows.append(measure(*case, options.rounds))
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1))
    summarise(rows, time.perf_counter() - began)


def cases(options) -> list[tuple]:
    """Small ones first, so that a run that is cut short has the most cases."""
    found = [
        (model, size, frames, role, dtype)
        for model in options.models
        for size in options.sizes
        for frames in options.frames
        for role in options.roles
        for dtype in options.dtypes
    ]
    return sorted(found, key=lambda case: (tokens(*case[:3]) * MODELS[case[0]].heads, case[3]))


def tokens(model: str, size: str, frames: int) -> int:
    height, width = map(int, size.split("x"))
    return MODELS[model].tokens(Video(width, height, frames))


@torch.inference_mode()
def measure(model: str, size: str, frames: int, role: str, dtype: str, rounds: int) -> dict:
    variant = MODELS[model]
    length = tokens(model, size, frames)
    keys = length if role == "self" else TEXT_TOKENS
    device = str(torch.empty(0).device)
    kind = getattr(torch, dtype)
    call = Call(role, 1, variant.heads, length, keys, variant.head_dim, kind, device)
    inputs = Case(model, size, frames, role, call).inputs(seed=0)
    able = eligible(call, probe(), Policy("auto"))
    start = time.perf_counter()
    found = tune(call, able, inputs)
    spent = (time.perf_counter() - start) * 1e3 - sum(m.first or 0 for m in found)
    usable = [m for m in found if m.usable]
    times = again({m.backend: m.milliseconds for m in usable}, inputs, rounds)
    best = min(times, key=times.__getitem__)
    row = {
        "model": model,
        "size": size,
        "frames": frames,
        "role": role,
        "dtype": dtype,
        "tokens": length,
        "auto": usable[0].backend,
        "auto_ms": times[usable[0].backend],
        "best": best,
        "best_ms": times[best],
        "regret": times[usable[0].backend] / times[best] - 1,
        "tuning_ms": spent,
        "forward_at_least_ms": variant.blocks * times[best] if role == "self" else None,
        "tuner": {m.backend: m.milliseconds for m in usable},
        "again": times,
        "refused": {m.backend: m.refusal for m in found if m.refusal},
    }
    print_row(row, times)
    return row


def again(found: dict[str, float], inputs: Inputs, least: int) -> dict[str, float]:
    """Milliseconds of each backend in `found`, which holds what the tuner found."""
    timer = BusyTimer(inputs.q.device, inputs.q.dtype)
    times: dict[str, list[float]] = {name: [] for name in found}
    runs = {name: functools.partial(BACKENDS[name].run, *inputs) for name in found}
    queued = {name: max(1, int(AHEAD / queueing(run))) for name, run in runs.items()}
    close, most = dict(found), 1

    def racing(number: int) -> list[str]:
        nonlocal close, most
        if number == 1:
            close = those_close({name: measured[0] for name, measured in times.items()})
            one_round = sum(max(BURST, ms) for ms in close.values())
            most += max(least, min(MOST_ROUNDS, round(LEAST_WORK / one_round)))
        return list(close) if number < most else []

    for _, name in rounds(racing, least + MOST_ROUNDS + 1):
        calls = max(1, min(queued[name], round(BURST / close[name])))
        times[name].append(timer(runs[name], calls, AHEAD))
    return {name: statistics.median(measured) for name, measured in times.items()}


def queueing(run: Callable[[], object]) -> float:
    """Milliseconds that the host takes for a call, the longest of a few."""
    torch.cuda.synchronize()
    times = []
    for _ in range(HOST_LOOKS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    torch.cuda.synchronize()
    return max(times)


def those_close(first: dict[str, float]) -> dict[str, float]:
    fastest = min(first.values())
    bound = fastest * (CLOSE_LONG if fastest > LONG else CLOSE)
    return {name: ms for name, ms in first.items() if ms <= bound}


def print_row(row: dict, times: dict[str, float]) -> None:
    others = ", ".join(
        f"{name} {ms:.3g}" for name, ms in times.items() if name not in (row["auto"], row["best"])
    )
    refused = "; ".join(f"{name}: {reason}" for name, reason in row["refused"].items())
    facts = [row[name] for name in ("model", "size", "frames", "role", "dtype")]
    facts += [
        f"{row['tokens']:,}",
        row["auto"],
        f"{row['auto_ms']:.3g}",
        row["best"],
        f"{row['best_ms']:.3g}",
    ]
    facts += [
        f"{row['regret']:.1%}",
        f"{row['tuning_ms']:.0f}",
        "; ".join(filter(None, (others, refused))),
    ]
    print(f"| {' | '.join(map(str, facts))} |", flush=True)


def summarise(rows: list[dict], seconds: float) -> None:
    worst = max(rows, key=lambda row: row["regret"])
    over = [row for row in rows if row["regret"] > 0.02]
    slow = [
        row
        for row in rows
        if row["forward_at_least_ms"] and row["tuning_ms"] > row["forward_at_least_ms"]
    ]
    where = " ".join(str(worst[name]) for name in ("model", "size", "frames", "role", "dtype"))
    print(f"\n{len(rows)} cases in {seconds:.0f} s; worst regret {worst['regret']:.1%} ({where})")
    print(
        f"cases over 2 %: {len(over)}; self cases whose tuning took longer than their attention alone: {len(slow)}"
    )


if __name__ == "__main__":
    main()
