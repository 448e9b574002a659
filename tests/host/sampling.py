"""Sampling in this process, at the level of the host's KSampler node."""

from __future__ import annotations

from types import SimpleNamespace

import torch

SIZES = {16: (5, 16, 16), 48: (5, 8, 8), 4: (16, 16)}  # latent channels to the rest of the shape
CALLS = (
    8  # of a sampling with the defaults: 2 steps, 2 blocks, self and text; CFG runs as one batch
)
IMAGE_TOKENS = (1, 257, 1280)  # what the CLIP vision model gives for one image


def sample(
    model, seed=3, steps=2, cfg=2.0, sampler="euler", latent=None, prompt="prompt", callback=None
) -> torch.Tensor:
    """The latent after sampling, as one sampler node of this prompt would give it."""
    import comfy.sample
    from comfy_execution.utils import CurrentNodeContext

    latent = empty_latent(model) if latent is None else latent
    noise = comfy.sample.prepare_noise(latent, seed)
    chosen = (steps, cfg, sampler, "simple", conditioning(model, 11), conditioning(model, 12))
    with CurrentNodeContext(prompt, "sampler", 0), torch.inference_mode():
        return comfy.sample.sample(
            model, noise, *chosen, latent, seed=seed, callback=callback, disable_pbar=True
        )


def custom(
    model,
    sampler,
    sigmas,
    positive,
    negative,
    latent,
    cfg=2.0,
    seed=3,
    prompt="prompt",
    callback=None,
) -> torch.Tensor:
    """The latent after sampling, as SamplerCustom would give it."""
    import comfy.sample
    from comfy_execution.utils import CurrentNodeContext

    noise = comfy.sample.prepare_noise(latent, seed)
    given = (noise, cfg, sampler, sigmas, positive, negative, latent)
    with CurrentNodeContext(prompt, "sampler", 0), torch.inference_mode():
        return comfy.sample.sample_custom(
            model, *given, callback=callback, disable_pbar=True, seed=seed
        )


def empty_latent(model) -> torch.Tensor:
    channels = model.model.latent_format.latent_channels
    return torch.zeros(1, channels, *SIZES[channels])


def conditioning(model, seed: int) -> list:
    generator = torch.Generator().manual_seed(seed)
    width, tokens = (4096, 512) if hasattr(model.model.diffusion_model, "text_dim") else (64, 77)
    extras = {}
    if getattr(model.model.diffusion_model, "img_emb", None) is not None:
        image = torch.randn(IMAGE_TOKENS, generator=generator)
        extras["clip_vision_output"] = SimpleNamespace(penultimate_hidden_states=image)
    return [[torch.randn(1, tokens, width, generator=generator), extras]]
