"""One attention call as it happened."""

from __future__ import annotations

from dataclasses import dataclass

from ..call import Call

OPERATORS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_attention_math": "math",
    "aten::_scaled_dot_product_attention_math_for_mps": "math",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
}
SWAPPED = {"torch_fa3": "flash", "torch_fa4": "flash"}  # torch runs them under this operator


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the profiler saw in one call: SDPA backends by name, every operator, every kernel on the device.

    `milliseconds` is the time of the kernels on a GPU, of the call itself on a CPU.
    """

    backends: tuple[str, ...]
    operators: tuple[str, ...]
    kernels: tuple[str, ...] = ()
    milliseconds: float | None = None

    @property
    def name(self) -> str:
        """The SDPA backends as one word, empty if none ran."""
        return "+".join(self.backends)

    def contradicts(self, backend: str) -> bool:
        """Whether something other than `backend` ran; other packages' kernels must show no SDPA at all."""
        backend = SWAPPED.get(backend, backend)
        expected = (backend,) if backend in OPERATORS.values() else ()
        return self.backends != expected


@dataclass(slots=True)
class Record:
    """`active` is what ran; `evidence` says how that is known: forced, profiled or host.

    `sighting` is what the profiler saw in a call of this kind; with `mismatch` it contradicts what was forced.
    `via` says how the call went past the host's hook, empty where it came through it.
    `milliseconds` is filled in once the device has passed the call, and stays None where nothing can time it.
    """

    call: Call
    requested: str
    active: str
    evidence: str
    reason: str = ""
    step: int | None = None
    block: int | None = None
    cond: str = ""
    milliseconds: float | None = None
    sighting: Sighting | None = None
    mismatch: bool = False
    via: str = ""
