"""What the conversion to 8-bit floats computes, in plain torch."""

from __future__ import annotations

import torch

LARGEST = 448.0  # of float8_e4m3fn
TINY = 1e-12


def quantise(
    x: torch.Tensor, centre: bool = False, dtype: torch.dtype = torch.float8_e4m3fn
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `fp8_triton.quantise`."""
    values = x.float()
    if centre:
        values = values - values.mean(dim=2, keepdim=True)
    factor = values.abs().amax(dim=(2, 3)).clamp_min(TINY) / LARGEST
    scaled = values * (1.0 / factor[:, :, None, None])
    return scaled.to(dtype).transpose(1, 2).contiguous(), factor
