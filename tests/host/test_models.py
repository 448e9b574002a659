"""The tiny checkpoints are what the tests take them for, and sample without the pack."""

import pytest
import torch
from wanattn.tests.host.sampling import sample


@pytest.mark.parametrize(
    ("kind", "base", "model_type", "channels"),
    [
        ("t2v", "WAN21", "t2v", 16),
        ("i2v", "WAN21", "t2v", 36),
        ("i2v_tokens", "WAN21", "i2v", 36),
        ("ti2v_5b", "WAN22", "t2v", 48),
    ],
)
def test_host_detects_tiny_checkpoint(load, kind, base, model_type, channels):
    model = load(kind).model

    assert type(model).__name__ == base
    assert type(model.diffusion_model).__name__ == "WanModel"
    assert model.diffusion_model.model_type == model_type
    assert model.diffusion_model.in_dim == channels
    assert model.diffusion_model.num_heads == 2


@pytest.mark.parametrize("kind", ["t2v", "i2v", "i2v_tokens", "ti2v_5b"])
def test_tiny_model_samples_without_the_pack(load, kind):
    first, second = sample(load(kind)), sample(load(kind))

    assert first.isfinite().all()
    assert first.std() > 0.1
    assert torch.equal(first, second)
