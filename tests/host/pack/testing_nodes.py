"""Nodes that only the tests use: conditioning without a text encoder, pixels without a VAE, another pack's override."""

import torch


class TestConditioning:
    """Random text embeddings of the size that Wan's text encoder gives."""

    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": ("INT", {"default": 0})}}

    def make(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return ([[torch.randn(1, 512, 4096, generator=generator), {}]],)


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
    "TestPixels": TestPixels,
    "TestOverride": TestOverride,
}
