"""WanVideoWrapper in a few lines, for what does not need its own model: milliseconds in place of seconds, and no pack."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import torch

ROOT = "imitated"  # the name under which the host would have loaded the pack
MODEL = f"{ROOT}.wanvideo.modules.model"
HEADS, TOKENS, TEXT = 2, 12, 32


def part(name: str) -> ModuleType:
    with patch.object(sys, "path", [str(Path(__file__).parent), *sys.path]):
        return importlib.import_module(f"{ROOT}.wanvideo.{name}")


def transformer(mode: str = "sdpa"):
    torch.manual_seed(1)
    return part("modules.model").WanModel(mode)


def loaded(mode: str = "sdpa"):
    """A model as the wrapper's loader gives it."""
    from comfy.model_patcher import ModelPatcher

    class WanVideoModel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.diffusion_model = transformer(mode)

    return ModelPatcher(WanVideoModel(), torch.device("cpu"), torch.device("cpu"))


def tokens(number: int = TOKENS, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[batch, tokens, heads, head_dim]."""
    return torch.randn(1, number, HEADS, 8).to(dtype)


def forward(model, step: int = 0, **named):
    """One forward of a loaded model, as a sampler of the wrapper asks for it."""
    return model([tokens()[0]], tokens(TEXT), current_step=step, **named)


def sample(model, steps: int = 2, **named) -> None:
    denoiser = model.model.diffusion_model
    timesteps = torch.linspace(1000, 0, steps)
    with torch.inference_mode():
        for step in range(len(timesteps)):
            forward(denoiser, step, **named)
