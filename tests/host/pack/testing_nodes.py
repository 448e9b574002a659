"""Nodes that only the tests use: conditioning without a text encoder, pixels without a VAE, another pack's override."""

import importlib.util
from pathlib import Path

import torch


class TestConditioning:
    """Random text embeddings of the size that Wan's text encoder gives."""

    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        width = ("INT", {"default": 4096})
        return {"required": {"seed": ("INT", {"default": 0})}, "optional": {"width": width}}

    def make(self, seed, width=4096):
        generator = torch.Generator().manual_seed(seed)
        return ([[torch.randn(1, 512, width, generator=generator), {}]],)


class TestVAE:
    """Where a node wants a VAE that it then does not use."""

    RETURN_TYPES = ("VAE",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        return (None,)


class TestUNet:
    """A model that is not Wan."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        path = Path(__file__).resolve().parents[1] / "tiny.py"
        spec = importlib.util.spec_from_file_location("wanattn_tests_tiny", path)
        tiny = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tiny)
        return (tiny.unet(),)


class TestPixels:
    """The first three channels of a latent as video frames."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"samples": ("LATENT",)}}

    def make(self, samples):
        return (samples["samples"][0, :3].permute(1, 2, 3, 0).sigmoid(),)  # F, H, W, 3


class TestOverride:
    """Another pack in the attention override slot; its effect on the result is easy to see."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def patch(self, model):
        model = model.clone()
        model.model_options["transformer_options"]["optimized_attention_override"] = (
            halved_attention
        )
        return (model,)


def halved_attention(func, *args, **kwargs):
    return func(*args, **kwargs) * 0.5


NODE_CLASS_MAPPINGS = {
    "TestConditioning": TestConditioning,
    "TestUNet": TestUNet,
    "TestVAE": TestVAE,
    "TestPixels": TestPixels,
    "TestOverride": TestOverride,
}
