"""What it costs to watch every attention call of a forward for numbers that are not finite.

    python tools/figures/guard.py [--device cuda] [--width 832 --height 480 --frames 81] [--dtype bfloat16]

The forward is that of Wan 2.2 14B in its sizes: 40 blocks of linear layers and two attention calls, with random weights that
all blocks share. Timed by the device's own events; the watching alone is timed too, since a share of a thousandth drowns in
what two forwards differ by. The worst case is measured: a kernel of a package, which is watched in every call, in the first
step of a run thoroughly and in later ones thinly.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from pack import load_pack

BLOCKS, HEADS, HEAD_DIM, HIDDEN, TEXT = 40, 40, 128, 13824, 512
ROUNDS, WARM_UP = 9, 2
STEPS = ("first step", "later step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    for name, size in (("width", 832), ("height", 480), ("frames", 81)):
        parser.add_argument(f"--{name}", type=int, default=size)
    options = parser.parse_args()
    load_pack()
    tokens = (options.width // 16) * (options.height // 16) * ((options.frames - 1) // 4 + 1)
    with torch.inference_mode():
        tell(options, tokens, measured(options, tokens))


def measured(options, tokens: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of the device and of the host until all is queued: a forward, and the watching in it."""
    ways = {"forward": forward_of(options, tokens)}
    ways |= {name: watching_of(options, tokens, name) for name in STEPS}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(WARM_UP + ROUNDS):
        for name, run in ways.items():
            found[name].append(timed(run, options.device))
    return {
        name: tuple(statistics.median(part) for part in zip(*times[WARM_UP:], strict=True))
        for name, times in found.items()
    }


def tell(options, tokens: int, found: dict[str, tuple[float, float]]) -> None:
    calls = 2 * options.blocks
    print(f"{tokens} tokens, {options.dtype}, {options.blocks} blocks, torch {torch.__version__}")
    if options.device == "cuda":
        print(torch.cuda.get_device_name())
    forward = found["forward"][0]
    print(f"forward {forward:.1f} ms of the device")
    for name in STEPS:
        device, host = found[name]
        share = f"{device:.3f} ms of the device, {100 * device / forward:.4f} % of a forward"
        print(f"watching {calls} calls, {name}: {share}; host {1e3 * host / calls:.1f} us a call")


def timed(run, device: str) -> tuple[float, float]:
    """Milliseconds of the device, and of the host until everything is queued."""
    if device != "cuda":
        start = time.perf_counter()
        run()
        spent = (time.perf_counter() - start) * 1e3
        return spent, spent
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(50_000_000)  # so that the host is ahead and the device never waits for it
    start = time.perf_counter()
    begin.record()
    run()
    end.record()
    host = (time.perf_counter() - start) * 1e3
    end.synchronize()
    return begin.elapsed_time(end), host


def watching_of(options, tokens: int, name: str):
    from wanattn.attention.run.finite import Guard, Suspect

    dtype, guard = getattr(torch, options.dtype), Guard()

    def tensor(length: int) -> torch.Tensor:
        """As the model makes it: [batch, tokens, heads, head_dim], seen by heads."""
        made = torch.randn(1, length, HEADS, HEAD_DIM, device=options.device, dtype=dtype)
        return made.transpose(1, 2)

    q, k, v, out = (tensor(tokens) for _ in range(4))
    text = (q, tensor(TEXT), tensor(TEXT))

    guard.watch(out, Suspect(None, "fa3", 0, 0), (q, k, v), False, thin=True)
    guard.post()

    def run() -> None:
        for block in range(options.blocks):
            suspect = Suspect(None, "fa3", STEPS.index(name), block)
            guard.watch(out, suspect, (q, k, v), False, thin=True)
            guard.watch(out, suspect, text, False, thin=True)
        guard.post()
        guard.read()

    return run


def forward_of(options, tokens: int):
    dtype, width = getattr(torch, options.dtype), HEADS * HEAD_DIM
    shape = {"device": options.device, "dtype": dtype}
    square = torch.randn(width, width, **shape) / width**0.5
    up, down = (
        torch.randn(*size, **shape) / width**0.5 for size in ((HIDDEN, width), (width, HIDDEN))
    )
    x, context = torch.randn(1, tokens, width, **shape), torch.randn(1, TEXT, width, **shape)

    def attention(x, context):
        q, k, v = (
            F.linear(each, square).unflatten(-1, (HEADS, HEAD_DIM)).transpose(1, 2)
            for each in (x, context, context)
        )
        out = F.scaled_dot_product_attention(q, k, v)
        return F.linear(out.transpose(1, 2).flatten(2), square)

    def run() -> None:
        y = x
        for _ in range(options.blocks):
            y = y + attention(F.rms_norm(y, (width,)), F.rms_norm(y, (width,)))
            y = y + attention(F.rms_norm(y, (width,)), context)
            y = y + F.linear(
                F.gelu(F.linear(F.rms_norm(y, (width,)), up), approximate="tanh"), down
            )

    return run


if __name__ == "__main__":
    main()
