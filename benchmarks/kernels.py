# ruff: noqa: E402
"""Every attention kernel at Wan shapes on this card: right or not, how fast, and why not.

    python benchmarks/kernels.py --dtypes bfloat16 float16 --out kernels.json

Inputs are random, laid out as the host hands them over. The error is relative, on a slice of query rows, against
float64. `first` holds plan building or compilation.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from pack import load_pack

load_pack()

from wanattn.attention.backends import BACKENDS
from wanattn.attention.backends.fp8 import quantise as quantise_plainly
from wanattn.attention.backends.kernel import Kernel
from wanattn.attention.backends.kernels import KERNELS
from wanattn.attention.call import Call
from wanattn.attention.environment import probe
from wanattn.attention.tuner import Inputs, check, timer_for

SHAPES = {
    "self 480x832x81": (40, 32760, 32760),
    "self 832x1216x81": (40, 82992, 82992),
    "text 832x1216x81": (40, 82992, 512),
    "self 5B 704x1280x121": (24, 27280, 27280),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--backends", nargs="+", default=[*BACKENDS, *KERNELS])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.set_default_device(options.device)
    print(json.dumps(probe().facts()))
    names = dict.fromkeys(options.backends)
    print_packages([KERNELS[name] for name in names if name in KERNELS])
    rows = []
    for dtype in options.dtypes:
        for shape in options.shapes:
            rows += measure(shape, getattr(torch, dtype), list(names), options.repeat)
    if "fa3_fp8" in names and not KERNELS["fa3_fp8"].absence:
        rows += [conversion(shape) for shape in options.shapes]
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


def print_packages(kernels: list[Kernel]) -> None:
    environment = probe()
    for kernel in kernels:
        state = kernel.absence or f"{kernel.package.title} {kernel.package.version}"
        print(f"{kernel.name:10} {state}")
        if kernel.absence:
            print(f"{'':10} {kernel.package.install(environment)}")


def tensors(heads: int, q_len: int, kv_len: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Views [1, heads, tokens, 128] of [1, tokens, heads, 128]."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(0)
    shapes = [(1, tokens, heads, 128) for tokens in (q_len, kv_len, kv_len)]
    return [
        torch.randn(shape, dtype=dtype, generator=generator).transpose(1, 2) for shape in shapes
    ]


@torch.inference_mode()
def measure(shape: str, dtype: torch.dtype, names: list[str], repeat: int) -> list[dict]:
    inputs = Inputs(*tensors(*SHAPES[shape], dtype))
    call = Call.of(inputs.q, inputs.k, inputs.v, None, shape.split()[0])
    print(
        f"\n| {shape} {call.dtype_name} | ms | TFLOP/s | error | first ms |\n|---|---|---|---|---|"
    )
    rows = []
    for name in names:
        row = one({**BACKENDS, **KERNELS}[name], call, inputs, repeat)
        rows.append({"shape": shape, "dtype": call.dtype_name, "backend": name, **row})
        print(f"| {name} | {line(row)} |", flush=True)
        torch.cuda.empty_cache()
    return rows


def one(backend, call: Call, inputs: Inputs, repeat: int) -> dict:
    reasons = backend.refusals(call, probe())
    if reasons:
        return {"refusal": "; ".join(reasons)}
    found = check(call, backend, inputs)
    if found.refusal:
        return {"refusal": found.refusal, "error": found.error}
    timer = timer_for(inputs.q.device)
    burst = max(1, min(20, round(5 / timer(lambda: inputs.run(backend), 1))))
    times = [timer(lambda: inputs.run(backend), burst) for _ in range(repeat)]
    milliseconds = statistics.median(times)
    return {
        "ms": milliseconds,
        "tflops": call.flops / milliseconds / 1e9,
        "error": found.error,
        "first": found.first,
        "spread": (max(times) - min(times)) / milliseconds,
    }


def line(row: dict) -> str:
    if "refusal" in row:
        return f"{row['refusal']} | | |"
    return f"{row['ms']:.2f} | {row['tflops']:.0f} | {row['error']:.1e} | {row['first']:.0f}"


@torch.inference_mode()
def conversion(shape: str) -> dict:
    """How much of an fp8 call the conversion takes, and whether it computes what plain torch does."""
    from wanattn.attention.backends.fp8_triton import quantise, quantise_all

    q, k, v = tensors(*SHAPES[shape], torch.bfloat16)
    timer = timer_for(q.device)
    fp8 = KERNELS["fa3_fp8"]
    fp8.run(q, k, v)
    part = statistics.median(timer(lambda: quantise_all(q, k, v), 5) for _ in range(3))
    whole = statistics.median(timer(lambda: fp8.run(q, k, v), 2) for _ in range(3))
    head = k[:, :1]
    found, factor = quantise(head, centre=True)
    right, right_factor = quantise_plainly(head, centre=True)
    differing = (found.float() != right.float()).float().mean().item()
    off = ((factor - right_factor).abs() / right_factor).max().item()
    print(
        f"fp8 conversion, {shape}: {part:.2f} ms of {whole:.2f} ms, {part / whole:.1%}; "
        f"{differing:.1e} of the values differ from plain torch, factor by {off:.1e}"
    )
    return {"shape": shape, "conversion_ms": part, "call_ms": whole, "differing": differing}


if __name__ == "__main__":
    main()
