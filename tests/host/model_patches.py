"""Model patches that bring attention of their own: speech (InfiniteTalk, MultiTalk) and the camera's path (Uni3C)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import comfy.model_patcher
import comfy.ops
import comfy.sd
import torch
from safetensors.torch import save_file
from wanattn.tests.host import tiny

WIDTH = 640  # of the model: speech attention has 40 heads, whatever the model has
LAYERS = 40  # of a file of speech attention, whatever the model has


@dataclass(frozen=True)
class Patched:
    """A model with its patch. `parts` are the patch's modules, for Counting."""

    model: object
    parts: dict[str, torch.nn.Module]


def wide_model(folder: Path):
    """A t2v model whose width both kinds of patch can have."""
    from wanattn.tests.host import kinds

    return kinds.load(folder, "wide", seed=5)


def save_speech(folder: Path) -> Path:
    """A file that the host's own loader takes for InfiniteTalk's, and narrow where a file may be."""
    from comfy_extras.nodes_model_patch import MultiTalkModelPatch

    module = MultiTalkModelPatch(
        in_dim=WIDTH,
        out_dim=64,
        intermediate_dim=16,
        num_layers=LAYERS,
        device="cpu",
        dtype=torch.bfloat16,
        operations=comfy.ops.disable_weight_init,
    )
    path = folder / "speech.safetensors"
    folder.mkdir(exist_ok=True)
    save_file(tiny.random_weights(module, 7), path)
    return path


def _patcher(module: torch.nn.Module) -> comfy.model_patcher.ModelPatcher:
    module.load_state_dict(tiny.random_weights(module, 7))
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(module, load_device=cpu, offload_device=cpu)


def speech(model, speakers: int = 1) -> Patched:
    """What WanInfiniteTalkToVideo does to a model."""
    from comfy.ldm.wan.model_multitalk import MultiTalkCrossAttnPatch, MultiTalkGetAttnMapPatch
    from comfy_extras.nodes_model_patch import MultiTalkModelPatch

    module = MultiTalkModelPatch(
        in_dim=WIDTH, num_layers=2, device="cpu", operations=comfy.ops.disable_weight_init
    )
    patch = _patcher(module)
    model = model.clone()
    tokens = 32 * speakers
    embeds = torch.randn(1, 3, tokens, 768, generator=torch.Generator().manual_seed(8))
    model.model_options["transformer_options"]["audio_embeds"] = embeds
    model.set_model_patch(MultiTalkCrossAttnPatch(patch, 1.0), "attn2_patch")
    if speakers > 1:
        masks = torch.zeros(speakers, 64)
        masks[0, :32] = masks[1, 32:] = 1
        model.set_model_patch(MultiTalkGetAttnMapPatch(masks), "attn1_patch")
    return Patched(model, {"speech": module})


def camera_path(model) -> Patched:
    """What WanUni3CControlnetApply does to a model."""
    from comfy.ldm.wan.uni3c import WanUni3CControlnet
    from comfy_extras.nodes_model_patch import WanUni3CControlnetApply

    module = WanUni3CControlnet(
        conv_out_dim=WIDTH,
        dim=256,
        ffn_dim=512,
        num_heads=2,
        num_layers=2,
        time_embed_dim=WIDTH,
        out_proj_dim=WIDTH,
        device="cpu",
        dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )
    vae = SimpleNamespace(
        temporal_compression_decode=lambda: 4,
        spacial_compression_encode=lambda: 8,
        encode=lambda frames: torch.zeros(1, 16, (len(frames) - 1) // 4 + 1, 16, 16),
    )
    given = (_patcher(module), vae, torch.rand(9, 128, 128, 3), 1.0, 0.0, 1.0)
    (model,) = WanUni3CControlnetApply().apply_patch(model, *given)
    return Patched(model, {"camera": module})
