"""Reported backends against an independent profiler, over every backend, role, dtype, mask and batch.

    python tools/figures/evidence.py [--device cuda] [--out table.md]

Each case runs one call through the pack while a profiler of this script counts torch's operators and, on a GPU,
the device kernels. `host` is plain scaled_dot_product_attention, which the pack profiles itself, so there the
script's profiler looks at a second call. Exits with 1 if any case disagrees.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from pack import load_pack
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

if TYPE_CHECKING:
    from wanattn.attention.record.record import Sighting

WISHES = ("flash", "efficient", "cudnn", "math", "auto", "host")
KV_LEN = {"self": 1024, "text": 512}
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
MASKS = ("none", "bool", "float")
BATCHES = (1, 2)
KERNELS = {"flash": "flash_fwd", "efficient": "fmha_cutlassF", "cudnn": "cudnn_generated"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load_pack()
    cases = list(itertools.product(WISHES, DTYPES, MASKS, KV_LEN, BATCHES))
    with torch.inference_mode():
        results = {case: compare(options.device, *case) for case in cases}
        cost = "" if options.device == "cpu" else sampling_cost()
    right = sum(not disagreement for _, disagreement in results.values())
    lines = [
        *heading(options.device),
        "",
        *rows(results),
        "",
        f"{right} of {len(results)} agree",
        cost,
    ]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines).rstrip() + "\n")
    raise SystemExit(right != len(results))


def heading(device: str) -> list[str]:
    name = torch.cuda.get_device_name() if device != "cpu" else "CPU"
    return [
        f"{name}, torch {torch.__version__}. Cells: what ran, as reported and as the profiler saw it;",
        "four calls a case: self (1024 keys) and text (512 keys), batch 1 and 2.",
    ]


def compare(
    device: str, wish: str, dtype, mask_kind: str, role: str, batch: int
) -> tuple[str, str]:
    """What the pack reports, and what speaks against it."""
    from wanattn.attention.choose.policy import Policy
    from wanattn.attention.run.intercept import Intercept

    q, k, v, mask = tensors(device, dtype, mask_kind, role, batch)
    intercept = Intercept(Policy(wish))
    intercept.forward.text_len = 512

    def call():
        with intercept:
            F.scaled_dot_product_attention(q, k, v, mask)

    if wish == "host":
        call()
        seen = observe(lambda: F.scaled_dot_product_attention(q, k, v, mask), device)
    else:
        seen = observe(call, device)
    ((_, record),) = intercept.recorder.snapshot().calls
    return record.active, disagreement(record.active, seen, device)


def disagreement(reported: str, seen: Sighting, device: str) -> str:
    """Empty where they agree: torch's kernels by operator and device kernel, a package's by showing no SDPA of torch."""
    kernels = {name for name, part in KERNELS.items() if any(part in k for k in seen.kernels)}
    fused = set(seen.backends) - {"math"}
    wrong = seen.contradicts(reported)
    if device != "cpu":
        wrong |= not seen.kernels or (bool(seen.backends) and kernels != fused)
    if not wrong:
        return ""
    return f"reported {reported}, seen {seen.name or 'no operator'}, kernels {sorted(kernels)}"


def tensors(device: str, dtype, mask_kind: str, role: str, batch: int):
    keys = KV_LEN[role]
    q, k, v = (
        torch.randn(batch, 8, n, 128, device=device, dtype=dtype) for n in (1024, keys, keys)
    )
    if mask_kind == "none":
        return q, k, v, None
    mask = torch.rand(batch, 1, 1024, keys, device=device) > 0.2
    return q, k, v, mask if mask_kind == "bool" else torch.zeros_like(mask, dtype=dtype)


def observe(call, device: str) -> Sighting:
    from wanattn.attention.record.record import OPERATORS, Sighting

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device != "cpu" else [])
    with profile(activities=activities, acc_events=True) as session:
        call()
    events = session.events() or ()
    operators = {event.name for event in events if event.name in OPERATORS}
    kernels = {event.name for event in events if event.device_type == DeviceType.CUDA}
    backends = tuple(sorted({OPERATORS[name] for name in operators}))
    return Sighting(backends, tuple(sorted(operators)), tuple(sorted(kernels)))


def rows(results: dict) -> list[str]:
    lines = ["| requested | dtype | no mask | bool mask | float mask |", "|---|---|---|---|---|"]
    for wish, dtype in itertools.product(WISHES, DTYPES):
        cases = (case_text(results, wish, dtype, mask) for mask in MASKS)
        lines.append(f"| {wish} | {str(dtype).removeprefix('torch.')} | {' | '.join(cases)} |")
    return lines


def case_text(results: dict, wish: str, dtype, mask: str) -> str:
    found = [results[wish, dtype, mask, role, batch] for role in KV_LEN for batch in BATCHES]
    wrong = [words for _, words in found if words]
    return "; ".join(wrong) or ", ".join(sorted({reported for reported, _ in found}))


def sampling_cost() -> str:
    """What profiling one call costs at the size of 480x832x81, for the first and the following ones."""
    from wanattn.attention.record.evidence import watch

    q = torch.randn(1, 40, 32760, 128, device="cuda", dtype=torch.bfloat16)

    def call():
        return F.scaled_dot_product_attention(q, q, q)

    def seconds(run) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds(call)
    plain = min(seconds(call) for _ in range(3))
    costs = [seconds(lambda: watch(call, q.device)) - plain for _ in range(4)]
    return "profiling one call costs " + ", ".join(f"{cost * 1e3:.0f} ms" for cost in costs)


if __name__ == "__main__":
    main()
