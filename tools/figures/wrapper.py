"""Host time of one attention call in a model of WanVideoWrapper: as it is, on a chosen backend, and only watched.

    WANATTN_PACKS=~/comfy/packs python tools/figures/wrapper.py --comfyui ~/comfy/ComfyUI

With the pack's own self-attention layers on tiny tensors, so that the host is the bottleneck, by ComfyUI's own Python, which
needs pytest; the median of many rounds in which all ways take turns, those of overhead.py for a MODEL among them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import overhead
import torch
from overhead import CALLS, PATCHED, ROUNDS, UNPATCHED, WARM_UP, WATCHED
from pack import load_host

TOKENS = 16
HOST = "a MODEL of ComfyUI, "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    options = parser.parse_args()
    load_host(options.comfyui, cpu=True)
    torch.set_num_threads(1)
    with torch.inference_mode():
        medians = measure({**ways(), **of_the_host()})
    for name, microseconds in medians.items():
        plain = HOST + UNPATCHED if name.startswith(HOST) else UNPATCHED
        beyond = microseconds - medians[plain]
        print(f"{name}: {microseconds:.1f} us a call, {beyond:.1f} us beyond {plain}")
    print(f"torch {torch.__version__}, cpu")


def ways() -> dict[str, Callable[[], object]]:
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.wrapper.patch import patch, watch
    from wanattn.tests.host import wrapper

    pack = wrapper.loaded()
    with tempfile.TemporaryDirectory() as folder:
        model = wrapper.load(pack, wrapper.save_tiny(pack, Path(folder)))
        wrapper.sample(pack, model, steps=1, cfg=1.0)  # reads the weights
    attention_only(model)
    return {
        UNPATCHED: forward(model),
        PATCHED: forward(patch(model, Policy("flash"))),
        WATCHED: forward(watch(model, proof="off")),
    }


def of_the_host() -> dict[str, Callable[[], object]]:
    """The same three of a MODEL, to compare with."""
    known = overhead.ways("cpu")
    return {HOST + name: known[name] for name in (UNPATCHED, PATCHED, WATCHED)}


def measure(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of this thread's time for one call each: other work on the machine counts little in them."""
    from wanattn.attention.choose.measure.turns import rounds

    found: dict[str, list[float]] = {name: [] for name in ways}
    for number, name in rounds(lambda number: list(ways), WARM_UP + ROUNDS):
        start = time.thread_time()
        ways[name]()
        if number >= WARM_UP:
            found[name].append((time.thread_time() - start) / CALLS * 1e6)
    return {name: statistics.median(times) for name, times in found.items()}


def attention_only(model) -> None:
    """The wrapper's transformer, but its forward only calls its own self-attention layers, with their last product."""
    from wanattn.tests.host.wrapper import TINY

    transformer = model.model.get_submodule("diffusion_model")
    heads = TINY["num_heads"]
    shape = (1, TOKENS, heads, TINY["dim"] // heads)  # B N H D
    qkv = [torch.randn(shape, dtype=torch.bfloat16) for _ in range(3)]
    lengths = torch.tensor([TOKENS], dtype=torch.int32)
    layers = [block.self_attn for block in transformer.blocks]

    def attend(x, **named):
        for number in range(CALLS):
            layers[number % len(layers)].forward(*qkv, lengths)
        return x

    transformer.forward = attend


def forward(model) -> Callable[[], object]:
    """As the wrapper's samplers call it: one view of the model for a whole run."""
    seen = model.model.diffusion_model
    latent = torch.zeros(16, 2, 8, 8)

    def run() -> None:
        seen([latent], current_step=0)

    return run


if __name__ == "__main__":
    main()
