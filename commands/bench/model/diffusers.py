"""diffusers' WanTransformer3DModel, for machines without ComfyUI."""

from __future__ import annotations

from typing import ClassVar

import diffusers
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from ....attention.choose.policy import Policy
from ....attention.run.intercept import Intercept
from ....attention.wan import TEXT_TOKENS
from .contender import UNPATCHED, Contender, measured_anew, randomise
from .shape import FREQ_DIM, TEXT_DIM, Shape

TIMESTEPS = 1000.0  # of sigma 1


class DiffusersDenoiser:
    """Its attention is torch's own call, which the pack takes over while an contender runs."""

    pads: ClassVar[bool] = False

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device, seed: int) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self.source = f"diffusers {diffusers.__version__}'s WanTransformer3DModel"
        self._model = build(shape, dtype, device)
        randomise(self._model, seed)

    def contender(self, backend: str) -> Contender:
        if backend == UNPATCHED:
            return Contender(backend, self._forward)
        intercept = Intercept(Policy(backend), timings_of=measured_anew(self.device))
        intercept.forward.text_len = TEXT_TOKENS
        recorder = intercept.recorder

        def run(latent: torch.Tensor, text: torch.Tensor, sigma: float) -> torch.Tensor:
            with intercept.numbering(self._model.blocks), intercept:
                output = self._forward(latent, text, sigma)
            recorder.stopwatch.settle()
            return output

        return Contender(backend, run, recorder, intercept.dispatcher)

    def velocity(self, output: torch.Tensor, latent: torch.Tensor, sigma: float) -> torch.Tensor:
        return output

    def _forward(self, latent: torch.Tensor, text: torch.Tensor, sigma: float) -> torch.Tensor:
        time = torch.full((1,), sigma * TIMESTEPS, device=self.device)
        given = (latent.to(self.dtype), time, text.to(self.dtype))
        return self._model(*given, return_dict=False)[0]


def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> WanTransformer3DModel:
    """On the device at once, since the whole model in float32 may not fit."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = WanTransformer3DModel(
                num_attention_heads=shape.variant.heads,
                attention_head_dim=shape.variant.head_dim,
                in_channels=shape.channels,
                out_channels=shape.channels,
                text_dim=TEXT_DIM,
                freq_dim=FREQ_DIM,
                ffn_dim=shape.ffn_dim,
                num_layers=shape.layers,
            )
    finally:
        torch.set_default_dtype(before)
    return _as_loaded(model)


def _as_loaded(model: WanTransformer3DModel) -> WanTransformer3DModel:
    """A checkpoint's small parts are loaded in float32 whatever the dtype of the rest."""
    kept = model._keep_in_fp32_modules or []
    for name, weight in model.named_parameters():
        if any(part in name.split(".") for part in kept):
            weight.data = weight.data.float()
    return model.requires_grad_(False).train(False)
