"""Tiny checkpoints of the host's own models: real classes and key names, few and random weights."""

from __future__ import annotations

from pathlib import Path

import comfy.model_base
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import torch
from comfy.ldm.wan.model import WanModel
from safetensors.torch import load_file, save_file

WAN = {"dim": 256, "ffn_dim": 512, "num_heads": 2, "num_layers": 2}
KINDS = {
    "t2v": {},
    "i2v": {"in_dim": 36},  # Wan 2.2 I2V: the image enters by channels, there are no image tokens
    "i2v_tokens": {"in_dim": 36, "model_type": "i2v"},
    "ti2v_5b": {"in_dim": 48, "out_dim": 48},
}
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 64,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "use_spatial_transformer": True,
    "legacy": False,
}


def save_wan(folder: Path, kind: str, seed: int = 1, name: str | None = None) -> Path:
    """Writes a checkpoint that the host's own detection loads."""
    path = folder / f"{name or kind}.safetensors"
    build = {**WAN, **KINDS[kind], "operations": comfy.ops.disable_weight_init, "device": "cpu"}
    save_file(random_weights(WanModel(**build, dtype=torch.bfloat16), seed), path)
    return path


def save_wan_fp8(folder: Path, kind: str, seed: int = 1, name: str = "fp8_scaled") -> Path:
    """The same in 8 bits, with a scale for each weight of a block, as such files are handed round."""
    whole = load_file(save_wan(folder, kind, seed))
    scaled = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}
    for key, weight in whole.items():
        if not (key.startswith("blocks.") and key.endswith(".weight") and weight.ndim == 2):
            scaled[key] = weight
            continue
        scale = weight.float().abs().max() / 448  # the largest number of the format
        scaled[key] = (weight.float() / scale).to(torch.float8_e4m3fn)
        scaled[key.removesuffix("weight") + "scale_weight"] = scale
    path = folder / f"{name}.safetensors"
    save_file(scaled, path)
    return path


def save_wan_gguf(folder: Path, kind: str, seed: int = 1, name: str = "q8_0") -> Path:
    """The same as a GGUF file: weights of two dimensions in blocks of eight bits."""
    import gguf

    path = folder / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, "wan")
    eight = gguf.GGMLQuantizationType.Q8_0
    for key, weight in load_file(save_wan(folder, kind, seed)).items():
        plain = weight.float().numpy()
        small = weight.ndim != 2 or "blocks." not in key
        packed = plain if small else gguf.quants.quantize(plain, eight)
        writer.add_tensor(key, packed, raw_dtype=None if small else eight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_weights(model: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: random_weight(name, weight, generator) for name, weight in model.state_dict().items()
    }


def random_weight(name: str, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    # Norms stay near one, so that the signal neither dies nor explodes on its way through.
    centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    weight = torch.randn(like.shape, generator=generator) * 0.05 + centre
    return weight.to(like.dtype)


def unet(seed: int = 1) -> comfy.model_patcher.ModelPatcher:
    """A Stable Diffusion 1.5 UNet, narrower: a model that is not Wan."""
    config = comfy.supported_models.SD15(dict(UNET))
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config, device="cpu")
    model.diffusion_model.load_state_dict(random_weights(model.diffusion_model, seed))
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
