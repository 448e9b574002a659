"""The sizes of one of the host's models: what its attention calls and its videos will be."""

from __future__ import annotations

import torch
from comfy.ldm.wan.model import WanModel

from ....attention.call import Call
from ....attention.wan import VARIANTS, Variant

IMAGE_TOKENS = 257
WRAPPED = ".wanvideo.modules.model"
FRAMES = 4  # that become one of the latent, after the first


def is_wan(denoiser: object) -> bool:
    """The host's own Wan, or that of WanVideoWrapper, whose module has the path of its folder before these words."""
    kind = type(denoiser)
    wrapped = kind.__module__.endswith(WRAPPED) and kind.__name__ == "WanModel"
    return wrapped or isinstance(denoiser, WanModel)


def variant_of(model) -> Variant:
    """The sizes of this very model; one of Wan 2.2's own goes by its name."""
    denoiser, kind = model.model.diffusion_model, type(model.model).__name__
    if not is_wan(denoiser):
        raise ValueError(
            f"Attention Benchmark knows the shapes of Wan models only, and this one is {kind}. "
            "Attention Diagnostics shows the time of each call of any model."
        )
    heads, blocks = denoiser.num_heads, len(denoiser.blocks)
    *_, side = denoiser.patch_size
    pixels = pixels_of(model.model.latent_format) * side
    sizes = (heads, blocks, pixels, denoiser.dim // heads)
    known = (variant for variant in VARIANTS.values() if variant == Variant(variant.name, *sizes))
    return next(known, Variant(kind, *sizes))


def pixels_of(latent_format) -> int:
    """Side of the square that becomes one latent pixel; core 0.8 does not say, but only the 5B model has 48 channels."""
    side = getattr(latent_format, "spacial_downscale_ratio", None)
    return side or (16 if latent_format.latent_channels == 48 else 8)


def dtype_of(model) -> torch.dtype:
    """In which the model computes attention, whatever its weights are stored in."""
    if isinstance(pipeline := getattr(model.model, "pipeline", None), dict):  # WanVideoWrapper's
        dtype = pipeline.get("base_dtype") or pipeline.get("dtype")
    else:
        dtype = model.get_model_object("manual_cast_dtype") or model.model.get_dtype()
    return dtype if dtype in (torch.float16, torch.bfloat16, torch.float32) else torch.bfloat16


def calls_of(model, shape: tuple[int, ...]) -> list[Call]:
    """The kinds of call of a forward on a latent of this shape; none where the model may add tokens of its own."""
    denoiser = model.model.diffusion_model
    if type(denoiser) is not WanModel or len(shape) != 5 or denoiser.ref_conv is not None:
        return []
    pairs = zip(shape[2:], denoiser.patch_size, strict=True)
    frames, rows, columns = (-(-length // patch) for length, patch in pairs)
    tokens, heads = frames * rows * columns, denoiser.num_heads
    keys = {"self": tokens, "text": denoiser.text_len}
    if denoiser.img_emb is not None:
        keys["image"] = IMAGE_TOKENS
    facts = (denoiser.dim // heads, dtype_of(model), str(model.load_device))
    return [Call(role, shape[0], heads, tokens, kv_len, *facts) for role, kv_len in keys.items()]


def video_of(model, shape: tuple[int, ...]) -> dict | None:
    """Pixels and frames of what a latent of this shape will be decoded to, None where that is not known."""
    if not isinstance(model.model.diffusion_model, WanModel) or len(shape) != 5:
        return None
    side, (frames, rows, columns) = pixels_of(model.model.latent_format), shape[2:]
    return {"width": columns * side, "height": rows * side, "frames": (frames - 1) * FRAMES + 1}


def shape_of(model, width: int, height: int, frames: int) -> tuple[int, ...]:
    """The latent of such a video."""
    latent = model.model.latent_format
    side = pixels_of(latent)
    return (1, latent.latent_channels, (frames - 1) // FRAMES + 1, height // side, width // side)
