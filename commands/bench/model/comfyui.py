"""ComfyUI's own WanModel, run as its sampler runs it."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import comfy.model_patcher
import comfy.supported_models
import torch

from ....attention.choose.policy import Policy
from ....nodes.host.patch import patch
from ....nodes.host.program import version
from ....nodes.host.tap import taps
from .contender import UNPATCHED, Contender, measured_anew, randomise
from .shape import FREQ_DIM, TEXT_DIM, Shape

CONFIGS = {16: comfy.supported_models.WAN21_T2V, 48: comfy.supported_models.WAN22_T2V}


class HostDenoiser:
    """Every contender is a clone patched by the pack's own node, so what that costs is in its times."""

    pads: ClassVar[bool] = True

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device, seed: int) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self.source = f"ComfyUI {version()}'s own WanModel"
        config = CONFIGS[shape.channels](unet_config(shape))
        config.set_inference_dtype(dtype, None)
        model = config.get_model({}, device=device)
        randomise(model.diffusion_model, seed)
        self._patcher = comfy.model_patcher.ModelPatcher(model, device, device)

    def contender(self, backend: str) -> Contender:
        if backend == UNPATCHED:
            return Contender(backend, self._runner(self._patcher.clone()))
        model = patch(self._patcher, Policy(backend), timings_of=measured_anew(self.device))
        tap = taps(model)[-1]
        dispatcher = tap.override.dispatcher if tap.override else None
        return Contender(backend, self._runner(model), tap.recorder, dispatcher)

    def velocity(self, output: torch.Tensor, latent: torch.Tensor, sigma: float) -> torch.Tensor:
        """The host's model gives the latent without its noise."""
        return (latent - output) / sigma

    def _runner(self, model) -> Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]:
        options = {**model.model_options.get("transformer_options", {}), "wrappers": model.wrappers}

        def run(latent: torch.Tensor, text: torch.Tensor, sigma: float) -> torch.Tensor:
            sigmas = torch.full((1,), sigma, device=self.device)
            given = {"c_crossattn": text.to(self.dtype), "transformer_options": options}
            return model.model.apply_model(latent, sigmas, **given)

        return run


def unet_config(shape: Shape) -> dict:
    """As the host's detection finds it in a checkpoint of this shape."""
    return {
        "image_model": "wan2.1",
        "model_type": "t2v",
        "dim": shape.dim,
        "ffn_dim": shape.ffn_dim,
        "num_heads": shape.variant.heads,
        "num_layers": shape.layers,
        "freq_dim": FREQ_DIM,
        "text_dim": TEXT_DIM,
        "in_dim": shape.channels,
        "out_dim": shape.channels,
        "patch_size": (1, 2, 2),
        "qk_norm": True,
        "cross_attn_norm": True,
        "eps": 1e-6,
        "window_size": (-1, -1),
    }
