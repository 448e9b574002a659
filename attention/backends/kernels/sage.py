"""SageAttention 1 and 2 (8-bit products) and 3 (4-bit, Blackwell).

PyPI has version 1 only, which is plain Triton. Versions 2 and 3 are built or fetched elsewhere; `sageattn` of version 2
takes another kernel on each card.
"""

from __future__ import annotations

import torch

from ...call import Call
from ...environment import Environment
from .. import packages
from ..kernel import kernel, on_device_of
from ..limits import HALF, Limits
from ..packages import Package, pip

FEW_KEYS = 4096
# What `sageattn` 2.2 runs, by compute capability; a build of somebody else's may know more.
KERNELS_OF_2 = {
    (8, 0): "int8 query and key, float16 values (CUDA)",
    (8, 6): "int8 query and key, float16 values (Triton)",
    (8, 9): "int8 query and key, fp8 values, float16 sums (CUDA)",
    (9, 0): "int8 query and key, fp8 values (CUDA)",
    (12, 0): "int8 query and key, fp8 values, float16 sums (CUDA)",
}
OF_1 = "int8 query and key, float16 values (Triton)"


def entry_point(version: str, capability: tuple[int, int] | None) -> str:
    """What `sageattn` of this version runs on such a card, empty where that is not known."""
    if version.startswith(("0.", "1.")):
        return OF_1
    if capability is None or not version.startswith("2."):
        return ""
    return KERNELS_OF_2.get(capability, "")


def _load_sage():
    from sageattention import sageattn  # pyright: ignore[reportMissingImports]

    return sageattn


def _load_sage3():
    from sageattn3 import sageattn3_blackwell  # pyright: ignore[reportMissingImports]

    return sageattn3_blackwell


def _first_generation() -> bool:
    return packages.find(SAGE_PACKAGE).version.startswith(("0.", "1."))


def _sage_limits(call: Call, environment: Environment) -> list[str]:
    """Version 1 takes three head sizes and float32; version 2 pads head sizes up to 128.

    Version 1 takes the padding of the last 64 keys for keys of zero, which shows where there are few keys.
    """
    reasons = []
    if _first_generation() and call.kv_len % 64 and call.kv_len < FEW_KEYS:
        version = SAGE_PACKAGE.version
        reasons.append(
            f"{call.kv_len} keys, sageattention {version} needs a multiple of 64 or at least {FEW_KEYS}"
        )
    if _first_generation() and call.head_dim not in (64, 96, 128):
        reasons.append(
            f"head_dim {call.head_dim}, sageattention {SAGE_PACKAGE.version} needs 64, 96 or 128"
        )
    if not _first_generation() and call.dtype not in HALF:
        reasons.append(f"dtype {call.dtype_name}, needs float16 or bfloat16")
    return reasons


def _attend(function, q, k, v, mask, scale) -> torch.Tensor:
    options = {}
    if _first_generation():  # it subtracts the mean from k in place, and the host still needs k
        k = k - k.mean(dim=2, keepdim=True)
        options["smooth_k"] = False
    with on_device_of(q):  # version 2 makes it the current one, for good
        return function(q, k, v, tensor_layout="HND", is_causal=False, sm_scale=scale, **options)


def _attend3(function, q, k, v, mask, scale) -> torch.Tensor:
    """It knows no scale and subtracts the mean from k in place."""
    if scale is not None:
        q = q * (scale * q.shape[-1] ** 0.5)
    with on_device_of(q):
        return function(q, k.clone(), v, is_causal=False)


def _install_sage(environment: Environment) -> str:
    """Elsewhere than on Windows, Triton comes with torch."""
    windows = environment.platform.startswith("Windows")
    return pip("sageattention==1.0.6", *(["triton-windows"] if windows else []))


def _install_sage3(environment: Environment) -> str:
    return "no package on PyPI; build the folder sageattention3_blackwell of thu-ml/SageAttention"


SAGE_PACKAGE = Package("sageattention", ("sageattention",), _load_sage, _install_sage)
SAGE3_PACKAGE = Package("sageattn3", ("sageattn3",), _load_sage3, _install_sage3)

SAGE = kernel(
    "sage",
    Limits("SageAttention", dtypes=(*HALF, torch.float32), max_head_dim=128, multiple=1),
    SAGE_PACKAGE,
    _attend,
    # Version 2 has 8-bit values too on newer cards, as fa3_fp8 has, and gets its bound.
    tolerance={torch.float16: 1e-1, torch.bfloat16: 1e-1, torch.float32: 5e-2},
    also=_sage_limits,
    note="8-bit query and key, from version 2 on newer cards 8-bit values too; error from 1e-2",
)
SAGE3 = kernel(
    "sage3",
    Limits("SageAttention-3", oldest=(10, 0), head_dims=(64, 128), grouped=False),
    SAGE3_PACKAGE,
    _attend3,
    tolerance={torch.float16: 2.5e-1, torch.bfloat16: 2.5e-1},
    note="4-bit products; visible loss is possible",
)
