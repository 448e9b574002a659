"""torch's scaled_dot_product_attention, one kernel at a time, each called by the name of its operator.

The switches of torch.backends.cuda belong to the whole process, so none is touched where the operator exists.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.backends import cuda

from ..call import Call, Inputs
from ..environment import Environment
from . import process
from .backend import Backend
from .limits import HALF, Limits, same_value_dim

TOLERANCE = {
    torch.float64: 1e-6,
    torch.float32: 1e-4,
    torch.float16: 5e-3,
    torch.bfloat16: 1e-2,
}
LARGEST_BATCH = 2**15  # fused CUDA kernels give wrong results or errors a little above
MASK_MULTIPLE = 8  # keys of a mask that kernels read in whole vectors
FLASH_LIMITS = Limits("FlashAttention", max_batch=LARGEST_BATCH, rocm=True)
EFFICIENT_LIMITS = Limits(
    "mem-efficient",
    dtypes=(*HALF, torch.float32),
    oldest=(5, 0),
    max_head_dim=2**16,
    multiple_float32=4,
    max_batch=LARGEST_BATCH,
    masks=True,
    grouped=False,
    values=True,
    rocm=True,
)
CUDNN_LIMITS = Limits("cuDNN", max_head_dim=128, max_batch=LARGEST_BATCH, masks=True, values=True)
WIDE_CUDNN_LIMITS = dataclasses.replace(CUDNN_LIMITS, max_head_dim=256)  # from Hopper on
CPU_LIMITS = Limits("FlashAttention", dtypes=(*HALF, torch.float32, torch.float64))
GATES = {
    "flash": (cuda.can_use_flash_attention, cuda.flash_sdp_enabled),
    "efficient": (cuda.can_use_efficient_attention, cuda.mem_efficient_sdp_enabled),
    "cudnn": (cuda.can_use_cudnn_attention, cuda.cudnn_sdp_enabled),
}


def _operator(name: str) -> Callable[..., tuple] | None:
    """By torch's own binding, which is quicker than the operator's; None where this torch has none."""
    name = f"_scaled_dot_product_{name}"
    return getattr(torch, name, None) or getattr(torch.ops.aten, name, None)


NAMES = (
    "flash_attention",
    "flash_attention_for_cpu",
    "efficient_attention",
    "cudnn_attention",
    "attention_math",
)
OPERATORS = {name: found for name in NAMES if (found := _operator(name))}


def _flash(q, k, v, mask=None, scale=None) -> torch.Tensor:
    if q.is_cpu:
        bias = _bias(mask, q)
        return OPERATORS["flash_attention_for_cpu"](q, k, v, attn_mask=bias, scale=scale)[0]
    with process.LOCK:  # torch's swap of this kernel holds for every thread
        return OPERATORS["flash_attention"](q, k, v, scale=scale)[0]


def _efficient(q, k, v, mask=None, scale=None) -> torch.Tensor:
    bias = _bias(mask, q)
    bias = None if bias is None else bias.expand(*q.shape[:3], k.shape[2])
    return OPERATORS["efficient_attention"](q, k, v, bias, _trained(q, k, v), scale=scale)[0]


def _cudnn(q, k, v, mask=None, scale=None) -> torch.Tensor:
    bias = _bias(mask, q)
    return OPERATORS["cudnn_attention"](q, k, v, bias, _trained(q, k, v), scale=scale)[0]


def _math(q, k, v, mask=None, scale=None) -> torch.Tensor:
    grouped = k.shape[1] != q.shape[1]
    if not (q.is_cpu or q.is_cuda):  # torch has no other kernel there
        return F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=grouped)
    bias = _bias(mask, q)
    return OPERATORS["attention_math"](q, k, v, bias, scale=scale, enable_gqa=grouped)[0]


def _bias(mask: torch.Tensor | None, q: torch.Tensor) -> torch.Tensor | None:
    """What the operators add to the scores, as SDPA makes it of a mask of booleans."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -math.inf)


def _trained(*tensors: torch.Tensor) -> bool:
    """Whether a backward pass may come, which needs the log-sum-exp."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def gate(kernel: str, inputs: Inputs) -> list[str]:
    """What speaks against these tensors and no fact of a `Call` tells: the operators skip SDPA's own checks."""
    reasons = _unreadable(inputs)
    if not reasons and inputs.q.is_cuda and kernel in GATES:
        reasons += _masked(kernel, inputs) or _own_check(kernel, inputs)
    return reasons


def _unreadable(inputs: Inputs) -> list[str]:
    """Without a token the kernel of a CPU ends the process; in another layout it computes nonsense."""
    if not (inputs.q.shape[2] and inputs.k.shape[2]):
        return [f"{inputs.q.shape[2]} queries and {inputs.k.shape[2]} keys, needs at least 1 each"]
    strides = [tensor.stride(3) for tensor in inputs[:3]]
    if strides != [1, 1, 1]:
        return [f"head_dim with strides {strides} in memory, needs 1 in query, key and value"]
    return []


def _masked(kernel: str, inputs: Inputs) -> list[str]:
    keys = inputs.k.shape[2]
    if inputs.mask is None or keys % MASK_MULTIPLE == 0:
        return []
    return [f"mask over {keys} keys, needs a multiple of {MASK_MULTIPLE}"]


def _own_check(kernel: str, inputs: Inputs) -> list[str]:
    """It also asks torch's switches, which another thread may be turning: its no counts only where they are on."""
    can_use, enabled = GATES[kernel]
    q, k, v, mask, _ = inputs
    facts = cuda.SDPAParams(q, k, v, mask, 0.0, False, k.shape[1] != q.shape[1])
    if not enabled() or can_use(facts) or not enabled():
        return []
    return ["torch's own check refuses this call"]


def flash_refusals(call: Call, environment: Environment) -> list[str]:
    if call.device_type == "cpu":
        return same_value_dim(call) + CPU_LIMITS.dtype(call)
    built = call.device_type != "cuda" or environment.flash_built
    missing = [] if built else ["FlashAttention not compiled into this torch build"]
    return missing + FLASH_LIMITS.refusals(call, environment)


def efficient_refusals(call: Call, environment: Environment) -> list[str]:
    found = environment.capability(call.device)
    if call.dtype == torch.bfloat16 and found and found < (8, 0):
        return ["dtype bfloat16, needs float16 or float32 below compute capability 8.0"]
    return EFFICIENT_LIMITS.refusals(call, environment)


def cudnn_refusals(call: Call, environment: Environment) -> list[str]:
    there = call.device_type == "cuda" and not environment.hip
    if there and environment.cudnn is None:
        return ["cuDNN not found by torch"]
    hopper = (environment.capability(call.device) or (0, 0)) >= (9, 0)
    return (WIDE_CUDNN_LIMITS if hopper else CUDNN_LIMITS).refusals(call, environment)


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


def _backend(name: str, label: str, refusals, run, *operators: str) -> Backend:
    """Where this torch lacks an operator, its switches choose the kernel."""
    known = all(operator in OPERATORS for operator in operators)
    run = run if known else functools.partial(process.switched, name)
    gated = None if name == "math" else functools.partial(gate, name)
    return Backend(name, label, refusals, run, TOLERANCE, gate=gated)


FLASH = _backend(
    "flash", "FlashAttention", flash_refusals, _flash, "flash_attention", "flash_attention_for_cpu"
)
EFFICIENT = _backend(
    "efficient", "mem-efficient", efficient_refusals, _efficient, "efficient_attention"
)
CUDNN = _backend("cudnn", "cuDNN", cudnn_refusals, _cudnn, "cudnn_attention")
MATH = _backend("math", "math", math_refusals, _math, "attention_math")
