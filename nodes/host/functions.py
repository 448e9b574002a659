"""The host's own attention functions, as backends that a user can name. `auto` never takes them."""

from __future__ import annotations

import functools

import torch
from comfy.ldm.modules.attention import get_attention_function, optimized_attention

from ...attention.backends import Backend, register
from ...attention.call import Call
from ...attention.environment import Environment
from ...attention.record.name import name_of

LABELS = {"sub_quad": "ComfyUI's sub-quadratic", "split": "ComfyUI's split"}
TOLERANCE = {
    torch.float64: 1e-6,
    torch.float32: 1e-4,
    torch.float16: 5e-3,
    torch.bfloat16: 2e-2,  # both round the weights of the softmax to the dtype of the call
}


def register_all() -> None:
    for name, label in LABELS.items():
        run = functools.partial(_run, name)
        register(Backend(name, label, functools.partial(_refusals, name), run, TOLERANCE))


def _refusals(name: str, call: Call, environment: Environment) -> list[str]:
    reasons = []
    if get_attention_function(name, None) is None:
        reasons.append(f"this ComfyUI has no attention function {name}")
    if call.kv_heads != call.heads:
        reasons.append(f"{call.kv_heads} key heads, needs {call.heads} as the query has")
    if call.value_dim != call.head_dim:
        reasons.append(f"value head_dim {call.value_dim}, needs {call.head_dim} as the query has")
    return reasons


def default() -> Backend:
    """What ComfyUI itself would run, to be measured: `host`, with the function's name as the label."""
    run = functools.partial(_attend, optimized_attention)
    return Backend("host", name_of(optimized_attention), _nothing_refused, run, {})


def _nothing_refused(call: Call, environment: Environment) -> list[str]:
    return []


def _run(name: str, q, k, v, mask=None, scale=None) -> torch.Tensor:
    return _attend(get_attention_function(name), q, k, v, mask, scale)


def _attend(function, q, k, v, mask=None, scale=None) -> torch.Tensor:
    """The scale goes into q, since core 0.8 takes none; `_inside_attn_wrapper` keeps the override out."""
    if scale is not None:
        q = q * (scale * q.shape[-1] ** 0.5)
    shape = {"skip_reshape": True, "skip_output_reshape": True}
    return function(
        q, k, v, q.shape[1], mask=_added(mask, q.dtype), _inside_attn_wrapper=True, **shape
    )


def _added(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Both functions add the mask to the scores, also one of booleans. Half of the lowest cannot overflow."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    low = torch.finfo(dtype).min / 2
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, low)
