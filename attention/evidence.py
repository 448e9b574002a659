"""What really executed: the operator that the profiler saw.

A dispatch mode sees only the composite operator under inference mode; the profiler sees the real one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch._C._autograd import _profiler_enabled
from torch.profiler import ProfilerActivity, profile

OPERATORS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_attention_math": "math",
    "aten::_scaled_dot_product_attention_math_for_mps": "math",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
}
_profiler = threading.Lock()  # torch allows one profiler a process


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the profiler saw in one call: SDPA backends by name, and every operator that did work."""

    backends: tuple[str, ...]
    operators: tuple[str, ...]


def watch(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Sighting | None]:
    """Run under the profiler; return the result and what was seen, None if another profiler is at work."""
    if not _profiler.acquire(blocking=False):
        return run(), None
    try:
        if _profiler_enabled():
            return run(), None
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as session:
            result = run()
        names = sorted({event.name for event in session.events() or () if "::" in event.name})
        backends = sorted({OPERATORS[name] for name in names if name in OPERATORS})
        return result, Sighting(tuple(backends), tuple(names))
    finally:
        _profiler.release()
