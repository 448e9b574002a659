"""Host time of one attention call in a model of WanVideoWrapper and in a MODEL: as it is, on a chosen backend, only watched.

    WANATTN_PACKS=~/comfy/packs python tools/figures/wrapper.py --comfyui ~/comfy/ComfyUI

By ComfyUI's own Python, which needs pytest. Both models have blocks of the same size, and a forward that does nothing but
have the self-attention layers of all blocks call attention, by their own code and with the same tiny tensors, so that the
host is the bottleneck. Every run is one of the sampler, in which all is found out and recorded that is in any: step,
conditioning, block, role, wish, time. The median of many forwards of many runs in which all ways take turns. Each both
with the product that follows attention in a layer and without: a product empties the processor's caches, and then all code
of Python takes longer, this pack's too.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
import unittest.mock
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from overhead import CALLS, PATCHED, PLAIN, STEPS, UNPATCHED, WATCHED, prefer_torch
from pack import load_host

TOKENS, ROUNDS, WARM_UP = 16, 40, 2
Way = tuple[str, str, str]
Run = Callable[[], list[float]]  # microseconds a call, of each forward of one run
WRAPPER, MODEL = "WanVideoWrapper", "a MODEL of ComfyUI"
ALONE, BESIDE = "attention alone", "with the product after it"
WAYS = (UNPATCHED, PATCHED, WATCHED)
LEAST = "unpatched, but with torch's function alone in ComfyUI's"  # which a backend spares it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    prefer_torch(options.comfyui)
    load_host(options.comfyui, cpu=True)
    torch.set_num_threads(1)
    with torch.inference_mode():
        medians = measure({**of_the_wrapper(), **of_the_host(), **of_torch()}, options.rounds)
    tell(medians)


def tell(medians: dict[Way, float]) -> None:
    for (whose, what, way), microseconds in medians.items():
        plain = microseconds - medians["torch", what, PLAIN]
        beyond = microseconds - medians.get((whose, what, UNPATCHED), microseconds)
        print(f"{whose}, {what}, {way}: {microseconds:.1f} us a call, {beyond:+.1f}, {plain:+.1f}")
    print(f"torch {torch.__version__}, cpu; the last figure is beyond {PLAIN}")


def of_the_wrapper() -> dict[Way, Run]:
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.wrapper.patch import patch, watch
    from wanattn.tests.host import wrapper

    pack = wrapper.loaded()
    found = {}
    for what in (ALONE, BESIDE):
        with tempfile.TemporaryDirectory() as folder:
            model = wrapper.load(pack, wrapper.save_tiny(pack, Path(folder)))
            wrapper.sample(pack, model, steps=1, cfg=1.0)  # reads the weights
        only_attention(model.model.get_submodule("diffusion_model"), what == ALONE)
        ways = model, patch(model, Policy("flash"), takes_over=False), watch(model, proof="off")
        runs = (sampled(one) for one in ways)
        found |= {(WRAPPER, what, way): run for way, run in zip(WAYS, runs, strict=True)}
    return found


def only_attention(transformer: torch.nn.Module, alone: bool) -> None:
    """The wrapper's transformer, but its forward only calls its own self-attention layers."""
    heads = sizes()["num_heads"]
    qkv = [x.view(1, TOKENS, heads, -1) for x in tensors(alone)]  # B N H D
    lengths = torch.tensor([TOKENS], dtype=torch.int32)
    layers = [block.self_attn for block in transformer.blocks]
    for layer in layers if alone else ():
        layer.o = torch.nn.Identity()

    def attend(x, **named):
        for number in range(CALLS):
            layers[number % len(layers)].forward(*qkv, lengths)
        return x

    transformer.forward = attend


def sampled(model) -> Run:
    """As the wrapper's samplers call it: one view of the model for a whole run, whose steps they name `timesteps`."""
    latent = torch.zeros(16, 2, 8, 8)

    def run() -> list[float]:
        seen, times, timesteps = model.model.diffusion_model, [], list(range(STEPS))
        for step in range(len(timesteps)):
            start = time.thread_time()
            seen([latent], current_step=step)
            times.append((time.thread_time() - start) / CALLS * 1e6)
        return times[1:]

    return run


def of_the_host() -> dict[Way, Run]:
    """The same of a MODEL, to compare with."""
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.host.patch import patch, watch

    found = {}
    for what in (ALONE, BESIDE):
        model = host_model(what == ALONE)
        ways = model.clone(), patch(model, Policy("flash")), watch(model, proof="off")
        for way, one in zip(WAYS, ways, strict=True):
            found[MODEL, what, way] = functools.partial(denoised, one)
        found[MODEL, what, LEAST] = functools.partial(denoised_with_least, ways[0])
    return found


def denoised_with_least(model) -> list[float]:
    with unittest.mock.patch("comfy.ldm.wan.model.optimized_attention", least):
        return denoised(model)


def least(q, k, v, heads, **_) -> torch.Tensor:
    """As much as the wrapper's own function does. Tensors are [batch, tokens, heads * head_dim]."""
    q, k, v = (x.view(1, TOKENS, heads, -1).transpose(1, 2) for x in (q, k, v))  # B H N D
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, TOKENS, -1)


def denoised(model) -> list[float]:
    """As ComfyUI's sampler calls it; the first forward of a run is not counted: it meets every kind of call."""
    import comfy.sample
    import comfy.samplers

    times = []

    def sampler(denoise, x, sigmas, extra_args, **named):
        for step in range(STEPS):
            start = time.thread_time()
            denoise(x, sigmas[step : step + 1], **extra_args)
            times.append((time.thread_time() - start) / CALLS * 1e6)
        return x

    latent = torch.zeros(1, 16, 2, 8, 8)
    texts = [[[torch.zeros(1, 2 * TOKENS, 4096), {}]] for _ in range(2)]
    given = (latent, 1.0, comfy.samplers.KSAMPLER(sampler), torch.linspace(1, 0, STEPS + 1))
    comfy.sample.sample_custom(model, *given, *texts, latent, disable_pbar=True, seed=0)
    return times[1:]


def host_model(alone: bool):
    import comfy.model_patcher
    import comfy.supported_models

    dtype = dtype_of(alone)
    config = comfy.supported_models.WAN21_T2V(
        {"image_model": "wan2.1", "model_type": "t2v", **sizes()}
    )
    config.set_inference_dtype(dtype, None)
    model = config.get_model({}, device="cpu")
    only_layers(model.diffusion_model, alone)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, cpu, cpu)


def only_layers(transformer: torch.nn.Module, alone: bool) -> None:
    """The host's transformer, but its forward only has its own self-attention layers call attention."""
    import comfy.ldm.wan.model

    comfy.ldm.wan.model.apply_rope1 = lambda x, freqs: x
    layers = [block.self_attn for block in transformer.blocks]
    emptied = ("q", "k", "v", "norm_q", "norm_k", *(["o"] if alone else []))
    for layer in layers:
        for name in emptied:
            setattr(layer, name, torch.nn.Identity())
    given = tensors(alone)[0]

    def attend(x, *_, transformer_options, **__):
        for number in range(CALLS):
            transformer_options["block_index"] = number % len(layers)
            layers[number % len(layers)](given, None, transformer_options=transformer_options)
        return x

    transformer.forward = attend


def of_torch() -> dict[Way, Run]:
    found = {}
    for what in (ALONE, BESIDE):
        product = torch.nn.Linear(sizes()["dim"], sizes()["dim"], dtype=torch.bfloat16)
        after = torch.nn.Identity() if what == ALONE else product
        found["torch", what, PLAIN] = plain(tensors(what == ALONE), after)
    return found


def plain(qkv: list[torch.Tensor], after: Callable[[torch.Tensor], torch.Tensor]) -> Run:
    heads = sizes()["num_heads"]
    q, k, v = (x.view(1, TOKENS, heads, -1).transpose(1, 2) for x in qkv)

    def run() -> list[float]:
        start = time.thread_time()
        for _ in range(CALLS):
            F.scaled_dot_product_attention(q, k, v)
            after(qkv[0])
        return [(time.thread_time() - start) / CALLS * 1e6]

    return run


def sizes() -> dict[str, int]:
    from wanattn.tests.host.wrapper import TINY

    return {name: TINY[name] for name in ("dim", "ffn_dim", "num_heads", "num_layers")}


def tensors(alone: bool) -> list[torch.Tensor]:
    return [torch.randn(1, TOKENS, sizes()["dim"], dtype=dtype_of(alone)) for _ in range(3)]


def dtype_of(alone: bool) -> torch.dtype:
    return torch.float32 if alone else torch.bfloat16  # that of the product


def measure(ways: dict[Way, Run], most: int) -> dict[Way, float]:
    """Microseconds of this thread's time for one call each: other work on the machine counts little in them."""
    from wanattn.attention.choose.measure.turns import rounds

    found: dict[Way, list[float]] = {name: [] for name in ways}
    for number, name in rounds(lambda number: list(ways), WARM_UP + most):
        times = ways[name]()
        found[name] += times if number >= WARM_UP else []
    return {name: statistics.median(times) for name, times in found.items()}


if __name__ == "__main__":
    main()
