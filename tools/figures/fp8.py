# ruff: noqa: E402
"""How much of an fp8 attention call its conversion takes, and whether it computes what plain torch does.

    python tools/figures/fp8.py --shapes "self 832x1216x81"

Inputs are random bfloat16, laid out as the host hands them over. Needs a GPU that runs `fa3_fp8`.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from pack import load_pack

load_pack()

from wanattn.attention.backends import KERNELS
from wanattn.attention.call import Inputs
from wanattn.attention.choose.measure.timer import timer_for
from wanattn.attention.environment import probe
from wanattn.attention.wan import VARIANTS, Video
from wanattn.bench.race.case import cases_of
from wanattn.tests.attention.backends import plain_fp8

FP8 = KERNELS["fa3_fp8"]
SHAPES = {
    "self 832x480x81": ("14b", Video(832, 480, 81)),
    "self 832x1216x81": ("14b", Video(832, 1216, 81)),
    "text 832x1216x81": ("14b", Video(832, 1216, 81)),
    "self 5B 1280x704x121": ("5b", Video(1280, 704, 121)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    for shape in options.shapes:
        model, clip = SHAPES[shape]
        role = shape.partition(" ")[0]
        (case,) = cases_of(VARIANTS[model], [clip], torch.bfloat16, options.device, [role])
        reasons = FP8.refusals(case.call, probe())
        if reasons:
            raise SystemExit(f"fa3_fp8: {'; '.join(reasons)}")
        print(conversion(shape, case.inputs(seed=0)), flush=True)


@torch.inference_mode()
def conversion(shape: str, inputs: Inputs) -> str:
    from wanattn.attention.backends.kernels.fp8_triton import quantise, quantise_all

    q, k, v = inputs.q, inputs.k, inputs.v
    timer = timer_for(q.device)
    FP8.run(q, k, v)
    part = statistics.median(timer(lambda: quantise_all(q, k, v), 5) for _ in range(3))
    whole = statistics.median(timer(lambda: FP8.run(q, k, v), 2) for _ in range(3))
    head = k[:, :1]
    found, factor = quantise(head, centre=True)
    right, right_factor = plain_fp8.quantise(head, centre=True)
    differing = (found.float() != right.float()).float().mean().item()
    off = ((factor - right_factor).abs() / right_factor).max().item()
    return (
        f"fp8 conversion, {shape}: {part:.2f} ms of {whole:.2f} ms, {part / whole:.1%}; "
        f"{differing:.1e} of the values differ from plain torch, factor by {off:.1e}"
    )


if __name__ == "__main__":
    main()
