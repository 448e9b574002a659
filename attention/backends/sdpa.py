"""torch's scaled_dot_product_attention, one kernel at a time."""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings

import torch
import torch.nn.functional as F
from torch.backends import cuda

from ..call import Call
from ..environment import Environment
from .backend import Backend, Refused

HALF = (torch.float16, torch.bfloat16)
TOLERANCE = {
    torch.float64: 1e-6,
    torch.float32: 1e-4,
    torch.float16: 5e-3,
    torch.bfloat16: 1e-2,
}
LARGEST_BATCH = 2**15  # fused CUDA kernels give wrong results or errors a little above
# What torch's sdpa_kernel sets, without the cost of its context manager.
SWITCHES = {
    "flash": (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
    "efficient": (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
    "cudnn": (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
    "math": (cuda.math_sdp_enabled, cuda.enable_math_sdp),
}
# The switches belong to the whole process: two threads at them at once leave them wrong for good.
_flags = threading.Lock()


def _run(kernel: str, q, k, v, mask=None, scale=None) -> torch.Tensor:
    try:
        return _attend(kernel, q, k, v, mask, scale)
    except RuntimeError as error:
        if "No available kernel" not in str(error) and "No viable backend" not in str(error):
            raise
        raise Refused(_torch_reasons(kernel, q, k, v, mask, scale) or [str(error)]) from error


def _attend(kernel: str, q, k, v, mask, scale) -> torch.Tensor:
    grouped = {"enable_gqa": True} if k.shape[1] != q.shape[1] else {}
    with _flags:
        before = [enabled() for enabled, _ in SWITCHES.values()]
        for name, (_, enable) in SWITCHES.items():
            enable(name == kernel)
        try:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, **grouped)
        finally:
            for (_, enable), was in zip(SWITCHES.values(), before, strict=True):
                enable(was)


def _torch_reasons(kernel: str, q, k, v, mask, scale) -> list[str]:
    """Ask again, now listening: torch says why it refuses in warnings."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with contextlib.suppress(RuntimeError):
            _attend(kernel, q, k, v, mask, scale)
    sentences = [str(warning.message).partition(" (Triggered internally")[0] for warning in heard]
    return [text.strip().rstrip(".") for text in sentences if "kernel not used because" not in text]


def _dtype(call: Call, allowed: tuple[torch.dtype, ...]) -> list[str]:
    if call.dtype in allowed:
        return []
    names = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
    return [f"dtype {call.dtype_name}, needs {names}"]


def _capability(call: Call, environment: Environment, needed: tuple[int, int]) -> list[str]:
    found = environment.capability(call.device)
    if found is None or found >= needed:  # ROCm has no such number; torch decides there
        return []
    return [f"compute capability {found[0]}.{found[1]}, needs {needed[0]}.{needed[1]} or newer"]


def _head_dim(call: Call, limit: int, multiple: int = 1) -> list[str]:
    reasons = []
    if call.head_dim > limit:
        reasons.append(f"head_dim {call.head_dim}, needs at most {limit}")
    if call.head_dim % multiple:
        reasons.append(f"head_dim {call.head_dim}, needs a multiple of {multiple}")
    return reasons


def _batch(call: Call) -> list[str]:
    if call.batch <= LARGEST_BATCH:
        return []
    return [f"batch {call.batch}, needs at most {LARGEST_BATCH}"]


def _same_value_dim(call: Call) -> list[str]:
    if call.value_dim == call.head_dim:
        return []
    return [f"value head_dim {call.value_dim}, needs {call.head_dim} as the query has"]


def flash_refusals(call: Call, environment: Environment) -> list[str]:
    if call.device_type == "cpu":
        return _same_value_dim(call) + _dtype(call, (*HALF, torch.float32, torch.float64))
    if call.device_type != "cuda":
        return [f"FlashAttention does not exist on {call.device_type}"]
    reasons = (
        [] if environment.flash_built else ["FlashAttention not compiled into this torch build"]
    )
    if call.mask != "none":
        reasons.append("masked call, kernel takes no mask")
    reasons += _dtype(call, HALF) + _capability(call, environment, (8, 0)) + _batch(call)
    return reasons + _head_dim(call, 256) + _same_value_dim(call)


def efficient_refusals(call: Call, environment: Environment) -> list[str]:
    if call.device_type != "cuda":
        return [f"mem-efficient does not exist on {call.device_type}"]
    reasons = _dtype(call, (*HALF, torch.float32)) + _batch(call)
    if call.dtype == torch.bfloat16:
        reasons += _capability(call, environment, (8, 0))
    if call.kv_heads != call.heads:
        reasons.append(f"{call.kv_heads} key heads, needs {call.heads} as the query has")
    return reasons + _head_dim(call, 2**16, 8 if call.dtype in HALF else 4)


def cudnn_refusals(call: Call, environment: Environment) -> list[str]:
    if call.device_type != "cuda" or environment.hip:
        return [f"cuDNN does not exist on {'ROCm' if environment.hip else call.device_type}"]
    if environment.cudnn is None:
        return ["cuDNN not found by torch"]
    reasons = _dtype(call, HALF) + _capability(call, environment, (8, 0)) + _batch(call)
    hopper = (environment.capability(call.device) or (0, 0)) >= (9, 0)
    return reasons + _head_dim(call, 256 if hopper else 128, 8)


def math_refusals(call: Call, environment: Environment) -> list[str]:
    """Math can run any call that fits: it writes down the score matrix and its softmax."""
    free = environment.free_memory(call.device)
    needed = 2 * call.score_bytes
    if call.dtype in HALF and not cuda.fp16_bf16_reduction_math_sdp_allowed():
        needed *= 2  # torch then computes in float32; ComfyUI allows the shorter way
    if free is None or needed <= free:
        return []
    return [
        f"score matrix and its softmax need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free"
    ]


def _backend(name: str, label: str, refusals) -> Backend:
    return Backend(name, label, refusals, functools.partial(_run, name), TOLERANCE)


FLASH = _backend("flash", "FlashAttention", flash_refusals)
EFFICIENT = _backend("efficient", "mem-efficient", efficient_refusals)
CUDNN = _backend("cudnn", "cuDNN", cudnn_refusals)
MATH = _backend("math", "math", math_refusals)
