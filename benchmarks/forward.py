"""A whole denoiser forward of ComfyUI's own Wan 2.2 14B model, random weights, by attention backend.

    python benchmarks/forward.py --comfyui ~/comfy/ComfyUI --sizes 480x832x81 832x1216x81

Cases take turns (A B C A B C), the first round is warm-up. Every case goes through the host's apply_model with
the pack's own patch, so wrappers, recording and timing are part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from pack import load_host

MODEL_14B = {
    "image_model": "wan2.1",
    "model_type": "t2v",
    "dim": 5120,
    "ffn_dim": 13824,
    "num_heads": 40,
    "num_layers": 40,
    "freq_dim": 256,
    "text_dim": 4096,
    "in_dim": 16,
    "out_dim": 16,
    "patch_size": (1, 2, 2),
    "qk_norm": True,
    "cross_attn_norm": True,
    "eps": 1e-6,
    "window_size": (-1, -1),
}
CASES = ["host", "host recorded", "flash", "cudnn", "cudnn unrecorded", "auto"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, default=Path.home() / "comfy" / "ComfyUI")
    parser.add_argument("--sizes", nargs="+", default=["480x832x81"], help="HEIGHTxWIDTHxFRAMES")
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device; a forward at these sizes needs one")
    load_host(options.comfyui, cpu=False)
    patcher = build(options.layers, getattr(torch, options.dtype))
    results = {size: compare(patcher, size, options) for size in options.sizes}
    print_tables(results)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


def build(layers: int, dtype: torch.dtype):
    """The host's own model at 14B sizes on the GPU; random weights, so no checkpoint is needed."""
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.WAN21_T2V({**MODEL_14B, "num_layers": layers})
    config.set_inference_dtype(dtype, None)
    model = config.get_model({}, device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    with torch.no_grad():
        for name, weight in model.diffusion_model.named_parameters():
            scale = 1.0 if "norm" in name and name.endswith("weight") else 0.02
            weight.normal_(0, 0.02, generator=generator).add_(scale if scale == 1.0 else 0)
    return comfy.model_patcher.ModelPatcher(model, torch.device("cuda"), torch.device("cuda"))


def compare(patcher, size: str, options) -> dict:
    height, width, frames = map(int, size.split("x"))
    dtype = getattr(torch, options.dtype)
    generator = torch.Generator("cuda").manual_seed(1)
    shape = (1, 16, (frames - 1) // 4 + 1, height // 8, width // 8)
    x = torch.randn(shape, device="cuda", generator=generator)
    text = torch.randn(1, 512, 4096, device="cuda", dtype=dtype, generator=generator)
    cases = {case: prepare(patcher, case) for case in options.cases}
    times: dict[str, list[float]] = {case: [] for case in cases}
    peaks, outputs = {}, {}
    for _ in range(options.repeat + 1):
        for case, model in cases.items():
            milliseconds, peaks[case], outputs[case] = forward(model, x, text)
            times[case].append(milliseconds)
    return {case: summary(case, times, peaks, outputs, cases) for case in cases}


def prepare(patcher, case: str):
    """A clone patched for the case, and a look at its recorder."""
    from wanattn.attention.forward import Forward
    from wanattn.attention.policy import Policy
    from wanattn.nodes.backend import patch
    from wanattn.nodes.diagnostics import watch
    from wanattn.nodes.override import KEY

    backend, _, how = case.partition(" ")
    if backend == "host":
        return watch(patcher) if how == "recorded" else patcher.clone()
    if backend in ("sub_quad", "split"):
        return hosted(patcher, backend)
    model = patch(patcher, Policy(backend))
    if how == "unrecorded":
        model.wrappers.clear()
        model.model_options["transformer_options"][KEY] = Forward(text_len=512)
    return model


def hosted(patcher, name: str):
    """The host's own function, put in place of its default."""
    from comfy.ldm.modules.attention import get_attention_function
    from wanattn.nodes.override import SLOT

    function = get_attention_function(name)
    model = patcher.clone()
    options = model.model_options.setdefault("transformer_options", {})
    options[SLOT] = lambda func, *args, **kwargs: function(*args, **kwargs)
    return model


@torch.inference_mode()
def forward(model, x, text) -> tuple[float, int, torch.Tensor]:
    """Milliseconds on the device, peak bytes, and the output."""
    options = {**model.model_options.get("transformer_options", {}), "wrappers": model.wrappers}
    sigma = torch.tensor([0.9], device="cuda")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start.record()
    output = model.model.apply_model(x, sigma, c_crossattn=text, transformer_options=options)
    end.record()
    end.synchronize()
    return start.elapsed_time(end), torch.cuda.max_memory_allocated(), output.float()


def summary(case: str, times, peaks, outputs, cases) -> dict:
    first = next(iter(cases))
    timed = times[case][1:]
    difference = (outputs[case] - outputs[first]).norm() / outputs[first].norm()
    return {
        "seconds": statistics.median(timed) / 1e3,
        "first_seconds": times[case][0] / 1e3,
        "spread": (max(timed) - min(timed)) / statistics.median(timed),
        "speedup": statistics.median(times[first][1:]) / statistics.median(timed),
        "peak_gib": peaks[case] / 2**30,
        "relative_difference": difference.item(),
        "ran": ran(cases[case]),
    }


def ran(model) -> dict[str, int]:
    from wanattn.nodes.tap import taps

    counts = [run.counts for tap in taps(model) for run in tap.recorder.runs]
    return {active: calls for count in counts for (_, active, _), calls in count.items()}


def print_tables(results: dict) -> None:
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    )
    for size, cases in results.items():
        print(
            f"\n| {size} | s | spread | speed-up | peak GiB | rel. difference | ran |\n|---|---|---|---|---|---|---|"
        )
        for case, row in cases.items():
            print(
                f"| {case} | {row['seconds']:.3f} | {row['spread']:.1%} | {row['speedup']:.2f}x "
                f"| {row['peak_gib']:.2f} | {row['relative_difference']:.1e} | {row['ran']} |"
            )


if __name__ == "__main__":
    main()
