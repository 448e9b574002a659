"""Host time that a patched, recorded call costs beyond the same SDPA call made under sdpa_kernel.

    python tools/figures/overhead.py --comfyui ~/comfy/ComfyUI [--device cuda]

Tiny tensors, so that the host is the bottleneck; the median of many rounds, both ways in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from pack import load_host
from torch.nn.attention import SDPBackend, sdpa_kernel

CALLS, ROUNDS, HEADS = 500, 21, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    load_host(options.comfyui, options.device == "cpu")
    torch.set_num_threads(1)
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    qkv = [torch.randn(1, 16, HEADS * 128, device=options.device, dtype=dtype) for _ in range(3)]
    ways = {"sdpa_kernel + SDPA": direct(qkv), "patched and recorded": patched(qkv)}
    with torch.inference_mode():
        medians = measure(ways, options.device)
    for name, microseconds in medians.items():
        print(f"{name}: {microseconds:.1f} us a call")
    first, second = medians.values()
    print(
        f"cost of the patch: {second - first:.1f} us a call (torch {torch.__version__}, {options.device})"
    )


def direct(qkv):
    q, k, v = (x.view(1, 16, HEADS, 128).transpose(1, 2) for x in qkv)

    def call():
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            return F.scaled_dot_product_attention(q, k, v)

    return call


def patched(qkv):
    from wanattn.attention.choose.policy import Policy
    from wanattn.attention.record.recorder import Recorder
    from wanattn.attention.run.dispatch import Dispatcher
    from wanattn.attention.run.forward import Forward
    from wanattn.nodes.host.override import KEY, Override

    recorder = Recorder()
    recorder.begin("benchmark", 1)
    override = Override(recorder, None, Dispatcher(Policy("flash")))
    options = {KEY: Forward(step=0, recorders=[recorder]), "block_index": 0}

    def call():
        return override(None, *qkv, heads=HEADS, transformer_options=options)

    call.settle = recorder.stopwatch.settle
    return call


def measure(ways: dict, device: str) -> dict[str, float]:
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            for _ in range(20):
                call()
            rounds[name].append(one_round(call, device))
    return {name: statistics.median(times[1:]) for name, times in rounds.items()}


def one_round(call, device: str) -> float:
    """Microseconds a call, with timings settled every 80 calls as a model of 40 blocks does once a forward."""
    settle = getattr(call, "settle", lambda: None)
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for number in range(CALLS):
        call()
        if number % 80 == 79:
            settle()
    return (time.perf_counter() - start) / CALLS * 1e6


if __name__ == "__main__":
    main()
