"""A tiny Wan 2.2 transformer on every backend: the pack's main job on a machine without ComfyUI or a GPU."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..attention import disk, filename
from ..attention.backends import BACKENDS
from ..attention.backends.packages import pip
from ..attention.choose import unused
from ..attention.choose.measure.timer import timer_for
from ..attention.choose.measure.timings import own_timings
from ..attention.choose.policy import Policy, wishes
from ..attention.environment import probe, require
from ..attention.record.recorder import Recorder
from ..attention.report import html
from ..attention.report.payload import payload_of
from ..attention.report.text import csv_of
from ..attention.run.intercept import Intercept
from ..attention.wan import TEXT_TOKENS, Video
from ..bench.lists import require_known
from ..bench.results.words import listed

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

TEXT_DIM = 256
GUIDANCE = 4.0
RACE_TOKENS = 4096  # some 0.2 s on a CPU, where math then needs 0.3 GiB


@dataclass(frozen=True, slots=True)
class Outcome:
    """The largest difference from the unpatched model, relative to that model's largest value."""

    backend: str
    error: float


def prepare(backends: Sequence[str], device: str, steps: int, out: Path) -> WanTransformer3DModel:
    """The model, once everything that a run needs is known to be there; else a sentence, before anything is shown."""
    require_known(backends, wishes())
    if steps < 1:
        raise ValueError(f"steps {steps}, needs at least 1")
    require(device)
    _check_folder(out)
    return tiny_model(device)


def _check_folder(out: Path) -> None:
    if trouble := filename.trouble(out):
        raise ValueError(f"--out '{out}': {trouble}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in filter(Path.exists, _files(out)):
            path.open("ab").close()  # a spreadsheet on Windows keeps others out
    except OSError as error:
        raise ValueError(
            f"--out '{out}' cannot be written ({filename.explained(error, out)})"
        ) from error


def run(
    model: WanTransformer3DModel,
    backends: Sequence[str],
    clip: Video,
    steps: int,
    progress: Callable[[int], object] = lambda forwards: None,
) -> tuple[dict, Recorder, list[Outcome]]:
    """Denoise the same latents unpatched and under each backend; return the payload, the recorder, the outcomes."""
    expected = denoise(model, clip, steps, None, progress)
    recorder, outcomes, timings_of = Recorder(), [], functools.cache(own_timings)
    for name in backends:
        intercept = Intercept(Policy(name), recorder, timings_of)
        run = recorder.begin("demo", steps)
        with intercept.numbering(model.blocks), intercept:
            result = denoise(model, clip, steps, intercept, progress)
        recorder.end(run, "finished")
        outcomes.append(Outcome(name, _relative_error(result, expected)))
    facts = probe().facts(str(model.device))
    model_facts = {"class": type(model).__name__, "wan": True}
    return payload_of(recorder.snapshot(), facts, model=model_facts), recorder, outcomes


def tiny_model(device: str) -> WanTransformer3DModel:
    """Two blocks of two heads of 128, random weights, through a safetensors file as a real checkpoint goes."""
    try:
        from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    except ImportError as error:
        sentence = (
            f"the demo needs diffusers ({error}); install it with: {pip('diffusers', 'accelerate')}"
        )
        raise RuntimeError(sentence) from error
    torch.manual_seed(0)
    made = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=128,
        text_dim=TEXT_DIM,
        freq_dim=256,
        ffn_dim=512,
        num_layers=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder, safe_serialization=True)
        # Windows removes no file that is still mapped.
        model = WanTransformer3DModel.from_pretrained(
            folder, torch_dtype=dtype_for(device), disable_mmap=True
        )
    model.to(device)  # pyright: ignore[reportArgumentType] diffusers decorates .to without its types
    return model.train(False)


def dtype_for(device: str) -> torch.dtype:
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


@torch.inference_mode()
def denoise(
    model: WanTransformer3DModel, clip: Video, steps: int, intercept: Intercept | None, progress
) -> torch.Tensor:
    """Euler steps from noise to clip with classifier-free guidance: two forwards a step."""
    device, dtype = model.device, dtype_for(str(model.device))
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 16, *clip.latent, generator=generator).to(device, dtype)
    texts = torch.randn(2, 1, TEXT_TOKENS, TEXT_DIM, generator=generator).to(device, dtype)
    sigmas = torch.linspace(1, 0, steps + 1).tolist()
    for step in range(steps):
        flows = []
        for cond, text in zip(("cond", "uncond"), texts, strict=True):
            if intercept:
                _enter(intercept, step, cond)
            timestep = torch.tensor([1000 * sigmas[step]], device=device, dtype=dtype)
            flows.append(model(latents, timestep, text, return_dict=False)[0])
            progress(1)
        flow = flows[1] + GUIDANCE * (flows[0] - flows[1])
        latents = latents + (sigmas[step + 1] - sigmas[step]) * flow
    return latents.float().cpu()


def _enter(intercept: Intercept, step: int, cond: str) -> None:
    intercept.forward.step = step
    intercept.forward.cond = cond
    intercept.forward.text_len = TEXT_TOKENS
    intercept.recorder.forward(step)


def _relative_error(result: torch.Tensor, expected: torch.Tensor) -> float:
    return ((result - expected).abs().max() / expected.abs().max()).item()


def meaning(
    payload: dict, times: dict[str, float], outcomes: Sequence[Outcome], limit: float
) -> str:
    """What a run shows, in two or three sentences. `times` are those of one larger call, as `race` gives them."""
    device = str(payload["rows"][0]["device"]) if payload["rows"] else "cpu"
    ran = list(times) or sorted({str(row["active"]) for row in payload["rows"]})
    what = "CPU" if device.startswith("cpu") else payload["environment"].get("gpu") or device
    sentences = [
        f"On this {what} {listed(ran)} {'runs' if len(ran) == 1 else 'run'}{_lead(times)}."
    ]
    if device.startswith("cpu"):
        sentences.append(_card_left_out() or "An NVIDIA card adds cuDNN and mem-efficient.")
    wrong = [outcome.backend for outcome in outcomes if not outcome.error <= limit]
    equal = f"Every output equals the unpatched model's to {limit:.0e}."
    sentences.append(f"The output under {listed(wrong)} is wrong." if wrong else equal)
    return " ".join(sentences)


def _card_left_out() -> str:
    environment = probe()
    if not (card := unused.card(environment, "cpu")):
        return ""
    why = unused.why(environment, "cpu")
    return f"torch cannot use your {card}: {why}; wanattn doctor says what mends it."


@torch.inference_mode()
def race(payload: dict, device: str) -> dict[str, float]:
    """Milliseconds of a call that is large enough to tell the backends that ran apart, by name, fastest first."""
    q = torch.randn(1, 2, RACE_TOKENS, 128, device=device, dtype=dtype_for(device))
    milliseconds = timer_for(q.device)
    times = {}
    for name in {str(row["active"]) for row in payload["rows"]} & set(BACKENDS):
        run = functools.partial(BACKENDS[name].run, q, q, q)
        run()
        times[name] = min(milliseconds(run, 1) for _ in range(3))
    return dict(sorted(times.items(), key=lambda time: time[1]))


def _lead(times: dict[str, float]) -> str:
    if len(times) < 2:
        return ""
    first, last = next(iter(times)), next(reversed(times))
    return (
        f", {first} {times[last] / times[first]:.1f}x as fast as {last} at {RACE_TOKENS:,} tokens"
    )


def _files(folder: Path) -> list[Path]:
    return [folder / f"demo.{suffix}" for suffix in ("json", "csv", "html")]


def write(folder: Path, payload: dict, recorder: Recorder) -> list[Path]:
    """Write demo.json, demo.csv and demo.html."""
    contents = (json.dumps(payload, indent=1), csv_of(recorder.snapshot()), html.render(payload))
    for path, content in zip(_files(folder), contents, strict=True):
        disk.write(path, content)
    return _files(folder)
