"""Host time of one attention call in a model of WanVideoWrapper: as it is, on a chosen backend, and only watched.

    WANATTN_PACKS=~/comfy/packs python tools/figures/wrapper.py --comfyui ~/comfy/ComfyUI

With the pack's own self-attention layers on tiny tensors, so that the host is the bottleneck, by ComfyUI's own Python, which
needs pytest; the median of many rounds in which all ways take turns, those of overhead.py for a MODEL among them. Each both with
the product that follows attention in a layer and without: a product empties the processor's caches, and then all code of Python
takes longer, this pack's too.
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
Way = tuple[str, str, str]
ALONE, BESIDE = "attention alone", "with the product after it"
WAYS = (UNPATCHED, PATCHED, WATCHED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    options = parser.parse_args()
    load_host(options.comfyui, cpu=True)
    torch.set_num_threads(1)
    with torch.inference_mode():
        medians = measure({**of_the_wrapper(), **of_the_host()})
    for (whose, what, way), microseconds in medians.items():
        beyond = microseconds - medians[whose, what, UNPATCHED]
        print(f"{whose}, {what}, {way}: {microseconds:.1f} us a call, {beyond:+.1f}")
    print(f"torch {torch.__version__}, cpu")


def of_the_wrapper() -> dict[Way, Callable[[], object]]:
    from wanattn.tests.host import wrapper

    pack = wrapper.loaded()
    found = {}
    for what in (ALONE, BESIDE):
        with tempfile.TemporaryDirectory() as folder:
            model = wrapper.load(pack, wrapper.save_tiny(pack, Path(folder)))
            wrapper.sample(pack, model, steps=1, cfg=1.0)  # reads the weights
        attention_only(model, what == ALONE)
        found |= {("WanVideoWrapper", what, way): run for way, run in ways(model).items()}
    return found


def ways(model) -> dict[str, Callable[[], object]]:
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.wrapper.patch import patch, watch

    runs = (model, patch(model, Policy("flash")), watch(model, proof="off"))
    return dict(zip(WAYS, map(forward, runs), strict=True))


def of_the_host() -> dict[Way, Callable[[], object]]:
    """The same of a MODEL, to compare with."""
    width = wrapper_width()
    product = torch.nn.Linear(width, width, dtype=torch.bfloat16)
    x = torch.randn(1, TOKENS, width, dtype=torch.bfloat16)
    found = {}
    for what, after in ((ALONE, lambda: None), (BESIDE, lambda: product(x))):
        known = overhead.ways("cpu", after)
        found |= {("a MODEL of ComfyUI", what, way): known[way] for way in WAYS}
    return found


def wrapper_width() -> int:
    from wanattn.tests.host.wrapper import TINY

    return TINY["dim"]


def measure(ways: dict[Way, Callable[[], object]]) -> dict[Way, float]:
    """Microseconds of this thread's time for one call each: other work on the machine counts little in them."""
    from wanattn.attention.choose.measure.turns import rounds

    found: dict[Way, list[float]] = {name: [] for name in ways}
    for number, name in rounds(lambda number: list(ways), WARM_UP + ROUNDS):
        start = time.thread_time()
        ways[name]()
        if number >= WARM_UP:
            found[name].append((time.thread_time() - start) / CALLS * 1e6)
    return {name: statistics.median(times) for name, times in found.items()}


def attention_only(model, alone: bool) -> None:
    """The wrapper's transformer, but its forward only calls its own self-attention layers, without their product if `alone`."""
    from wanattn.tests.host.wrapper import TINY

    transformer = model.model.get_submodule("diffusion_model")
    heads = TINY["num_heads"]
    shape = (1, TOKENS, heads, TINY["dim"] // heads)  # B N H D
    dtype = torch.float32 if alone else torch.bfloat16  # that of overhead.py, that of the product
    qkv = [torch.randn(shape, dtype=dtype) for _ in range(3)]
    lengths = torch.tensor([TOKENS], dtype=torch.int32)
    layers = [block.self_attn for block in transformer.blocks]
    for layer in layers if alone else ():
        layer.o = torch.nn.Identity()

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
