"""Every kind of Wan model that the host knows, tiny: its checkpoint, and what its conditioning carries."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import comfy.ops
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.supported_models
import torch
from safetensors.torch import save_file
from wanattn.tests.host import sampling, tiny

SHAPE = {
    "image_model": "wan2.1",
    "in_dim": 16,
    "out_dim": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "patch_size": (1, 2, 2),
    "window_size": (-1, -1),
    "qk_norm": True,
    "cross_attn_norm": True,
    "eps": 1e-6,
}
LATENT = (1, 16, 3, 16, 16)  # 3 x 8 x 8 = 192 tokens


def video(channels: int = 16, frames: int = 3) -> torch.Tensor:
    return _noise(1, channels, frames, 16, 16)


def image() -> SimpleNamespace:
    return SimpleNamespace(penultimate_hidden_states=_noise(1, 257, 1280))


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(21))


def _without_motion_encoder(module: torch.nn.Module) -> None:
    """Five seconds a frame on a CPU, and no attention in it."""
    module.motion_encoder.get_motion = lambda pixels: pixels.flatten(1)[:, :512]


@dataclass(frozen=True)
class Kind:
    """`model` is a class of comfy.supported_models; `named` what the file itself says of its model."""

    model: str
    config: dict = field(default_factory=dict)
    named: dict = field(default_factory=dict)
    extras: Callable[[], dict] = dict
    layers: int = 2
    latent: tuple[int, ...] = LATENT
    sampler: str = "euler"
    cfg: float = 2.0
    quicken: Callable[[torch.nn.Module], None] = lambda module: None


KINDS = {
    "t2v": Kind("WAN21_T2V"),
    "i2v": Kind("WAN21_T2V", {"in_dim": 36}),
    "i2v_tokens": Kind(
        "WAN21_I2V",
        {"in_dim": 36, "model_type": "i2v"},
        extras=lambda: {"clip_vision_output": image()},
    ),
    "wide": Kind(  # for patches with 40 heads
        "WAN21_T2V", {"dim": 640, "num_heads": 5}
    ),
    "i2v_wide": Kind(
        "WAN21_I2V",
        {"in_dim": 36, "model_type": "i2v", "dim": 640, "num_heads": 5},
        extras=lambda: {"clip_vision_output": image()},
    ),
    "fun_control": Kind(
        "WAN21_FunControl2V",
        {"in_dim": 48, "model_type": "i2v"},
        extras=lambda: {"clip_vision_output": image()},
    ),
    "fun_control_2.2": Kind("WAN21_T2V", {"in_dim": 52}),
    "reference": Kind(  # one more frame of tokens before the video
        "WAN21_T2V",
        {"in_dim_ref_conv": 16},
        extras=lambda: {"reference_latents": [video(frames=1)]},
    ),
    "phantom": Kind(  # reference images as further frames
        "WAN21_T2V", extras=lambda: {"time_dim_concat": video(frames=2)}
    ),
    "ti2v_5b": Kind("WAN22_T2V", {"in_dim": 48, "out_dim": 48}, latent=(1, 48, 3, 16, 16)),
    "camera": Kind(
        "WAN21_Camera",
        {"model_type": "camera", "in_dim": 32},
        extras=lambda: {
            "clip_vision_output": image(),
            "camera_conditions": _noise(1, 24, 3, 128, 128),
        },
    ),
    "camera_2.2": Kind(
        "WAN22_Camera",
        {"model_type": "camera_2.2", "in_dim": 36},
        extras=lambda: {"camera_conditions": _noise(1, 24, 3, 128, 128)},
    ),
    "vace": Kind(
        "WAN21_Vace",
        {"model_type": "vace", "vace_layers": 2, "vace_in_dim": 96},
        extras=lambda: {"vace_frames": [video(32)], "vace_mask": [torch.ones(1, 64, 3, 16, 16)]},
        layers=4,
    ),
    "humo": Kind(
        "WAN21_HuMo",
        {"model_type": "humo"},
        extras=lambda: {
            "audio_embed": _noise(1, 3, 8, 5, 1280),
            "reference_latents": [video(frames=1)],
        },
    ),
    "s2v": Kind(
        "WAN22_S2V",
        {"model_type": "s2v"},
        extras=lambda: {
            "audio_embed": _noise(1, 25, 1024, 12),
            "reference_latents": [video(frames=1)],
        },
    ),
    "animate": Kind(
        "WAN22_Animate",
        {"model_type": "animate", "in_dim": 36},
        extras=lambda: {
            "clip_vision_output": image(),
            "pose_video_latent": video(frames=2),
            "face_video_pixels": _noise(1, 3, 1, 512, 512),
        },
        layers=5,
        quicken=_without_motion_encoder,
    ),
    "animate2": Kind(
        "WAN_Animate2",
        {"model_type": "animate2", "in_dim": 36},
        {"model_type": "animate2"},
        extras=lambda: {"clip_vision_output": image(), "pose_video_latent": video(frames=2)},
    ),
    "causal": Kind("WAN21_CausalAR_T2V", {}, {"causal_ar": True}, sampler="ar_video", cfg=1.0),
    "scail": Kind(
        "WAN21_SCAIL",
        {"model_type": "scail", "in_dim": 20},
        extras=lambda: {
            "clip_vision_output": image(),
            "reference_latents": [video(frames=1)],
            "pose_video_latent": _noise(1, 16, 3, 8, 8),
        },
    ),
    "dancer": Kind(
        "WAN22_WanDancer",
        {"model_type": "wandancer", "in_dim": 36},
        extras=lambda: {"clip_vision_output": image(), "audio_embed": _noise(1, 24, 35)},
    ),
}


def missing(name: str) -> str:
    """Why this host has no such kind; empty where it has."""
    kind = KINDS[name]
    known = hasattr(comfy.supported_models, kind.model)
    return "" if known else f"this ComfyUI has no {kind.model}"


def save(folder: Path, name: str, seed: int = 1) -> Path:
    """Writes a checkpoint that the host's own detection loads as this kind."""
    kind, path = KINDS[name], folder / f"{name}_{seed}.safetensors"
    shape = {**SHAPE, **tiny.WAN, "num_layers": kind.layers, "model_type": "t2v", **kind.config}
    config = getattr(comfy.supported_models, kind.model)(shape)
    config.set_inference_dtype(torch.bfloat16, None)
    config.custom_operations = comfy.ops.disable_weight_init
    weights = config.get_model({}, "", device="cpu").diffusion_model
    metadata = {"config": json.dumps({"transformer": kind.named})} if kind.named else None
    save_file(tiny.random_weights(weights, seed), path, metadata=metadata)
    return path


def load(folder: Path, name: str, seed: int = 1):
    model = comfy.sd.load_diffusion_model(str(save(folder, name, seed)))
    KINDS[name].quicken(model.model.diffusion_model)
    return model


def conditionings(model, name: str) -> dict[str, list]:
    """Positive and negative, with all that this kind's own node puts beside the text."""
    both = {
        "positive": sampling.conditioning(model, 11),
        "negative": sampling.conditioning(model, 12),
    }
    for ((_, extras),) in both.values():
        extras.clear()
        extras.update(KINDS[name].extras())
    return both


def sample(model, name: str, steps: int = 2, sampler: str = "", cfg=None) -> torch.Tensor:
    """As SamplerCustom would: it takes every sampler, those too that KSampler does not list."""
    latent = torch.zeros(KINDS[name].latent)
    sampler = comfy.samplers.ksampler(sampler or KINDS[name].sampler)
    sigmas = comfy.samplers.calculate_sigmas(
        model.get_model_object("model_sampling"), "simple", steps
    )
    given = conditionings(model, name)
    return sampling.custom(
        model, sampler, sigmas, given["positive"], given["negative"], latent, cfg or KINDS[name].cfg
    )
