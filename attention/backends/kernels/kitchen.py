"""comfy-kitchen's 8-bit attention, which comes with newer ComfyUI."""

from __future__ import annotations

import torch

from ...environment import Environment
from ..kernel import kernel
from ..limits import HALF, Limits
from ..packages import Package, pip


def _load():
    import comfy_kitchen  # pyright: ignore[reportMissingImports]
    from comfy_kitchen import int8_attention  # pyright: ignore[reportMissingImports]

    if not comfy_kitchen.int8_attention_is_available():
        reason = comfy_kitchen.list_backends().get("cuda", {}).get("unavailable_reason")
        raise RuntimeError(reason or "its kernel does not support this card")
    return int8_attention


def _attend(function, q, k, v, mask, scale) -> torch.Tensor:
    return function(q, k, v, scale=scale, attn_mask=mask)


def _install(environment: Environment) -> str:
    line = pip("--upgrade", "comfy-kitchen")
    return f"{line} (or update ComfyUI, which pins the release that it was tested with)"


PACKAGE = Package("comfy-kitchen", ("comfy-kitchen",), _load, _install)

INT8 = kernel(
    "int8",
    Limits("comfy-kitchen int8", (*HALF, torch.float32), (7, 5), multiple=1, masks=True, rocm=True),
    PACKAGE,
    _attend,
    tolerance={torch.float16: 5e-2, torch.bfloat16: 5e-2, torch.float32: 5e-2},
    note="8-bit products; error about 2e-2",
)
