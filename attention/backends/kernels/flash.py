"""FlashAttention 2, 3 and 4 from their own packages, and torch's swap of its flash kernel for them."""

from __future__ import annotations

import functools

import torch

from ...call import Call
from ...environment import Environment
from .. import process
from ..kernel import kernel
from ..limits import Limits
from ..packages import Package, pip


def _load_fa2():
    from flash_attn import flash_attn_func  # pyright: ignore[reportMissingImports]

    return flash_attn_func


def _load_fa3():
    """The official build if there is one, since it may have float16; else the forward-only wheel."""
    try:
        from flash_attn_interface import flash_attn_func  # pyright: ignore[reportMissingImports]
    except ImportError:
        from fa3_fwd_interface import flash_attn_func  # pyright: ignore[reportMissingImports]
    return flash_attn_func


def _load_fa4():
    from flash_attn.cute import flash_attn_func  # pyright: ignore[reportMissingImports]

    return flash_attn_func


def _fa3_build_flags() -> dict[str, bool]:
    try:
        import flash_attn_interface  # noqa: F401  # pyright: ignore[reportMissingImports]
        from flash_attn_config import CONFIG  # pyright: ignore[reportMissingImports]
    except ImportError:
        try:
            from fa3_fwd_config import CONFIG  # pyright: ignore[reportMissingImports]
        except ImportError:
            return {}
    return CONFIG.get("build_flags", {})


def _fa3_built_for(call: Call, environment: Environment) -> list[str]:
    """Wheels leave out dtypes and head sizes to stay small, and say so in their build flags."""
    flags = _fa3_build_flags()
    reasons = []
    if call.dtype == torch.float16 and flags.get("FLASHATTENTION_DISABLE_FP16"):
        reasons.append(
            "dtype float16, this FlashAttention-3 was built without it and needs bfloat16"
        )
    sizes = [
        size
        for size in (64, 96, 128, 192, 256)
        if not flags.get(f"FLASHATTENTION_DISABLE_HDIM{size}")
    ]
    if call.head_dim > max(sizes, default=0):
        reasons.append(f"head_dim {call.head_dim}, this FlashAttention-3 was built without it")
    return reasons


def _fa4_head_dim(call: Call, environment: Environment) -> list[str]:
    hopper = (environment.capability(call.device) or (9, 0))[0] == 9
    if hopper or call.head_dim <= 128:
        return []
    return [f"head_dim {call.head_dim}, needs at most 128"]


def _attend(function, q, k, v, mask, scale) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # B H N D -> B N H D
    out = function(q, k, v, softmax_scale=scale)
    out = out[0] if isinstance(out, tuple) else out  # FA4 and early FA3 return the log-sum-exp too
    return out.transpose(1, 2)


def _install_fa2(environment: Environment) -> str:
    line = pip("flash-attn", "--no-build-isolation")
    return f"{line} (compiles for an hour or more, needs the CUDA toolkit)"


def _install_fa3(environment: Environment) -> str:
    if environment.platform != "Linux x86_64":
        return f"no wheel for {environment.platform}; the one on PyPI is for Linux x86_64"
    capability = environment.capability("cuda")
    if capability and capability != (9, 0):  # which the package itself would allow
        return "the wheel on PyPI is for Hopper only; build the folder hopper of Dao-AILab/flash-attention"
    return pip("fa3-fwd")


def _install_fa4(environment: Environment) -> str:
    if not environment.platform.startswith("Linux"):
        return f"no wheels of its CUTLASS DSL for {environment.platform}; they exist for Linux"
    extra = "[cu13]" if (environment.cuda or "").startswith("13") else ""
    return pip(f'"flash-attn-4{extra}==4.0.0b36"')  # without a version pip takes no beta


FA2_PACKAGE = Package("flash-attn", ("flash-attn",), _load_fa2, _install_fa2)
FA3_PACKAGE = Package("fa3-fwd", ("flash-attn-3", "fa3-fwd"), _load_fa3, _install_fa3)
FA4_PACKAGE = Package("flash-attn-4", ("flash-attn-4",), _load_fa4, _install_fa4)

FA2 = kernel("fa2", Limits("FlashAttention-2", rocm=True), FA2_PACKAGE, _attend)
FA3 = kernel(
    "fa3", Limits("FlashAttention-3", newest=(9, 0)), FA3_PACKAGE, _attend, also=_fa3_built_for
)
FA4 = kernel(
    "fa4",
    Limits("FlashAttention-4", oldest=(9, 0), newest=(10, 3)),
    FA4_PACKAGE,
    _attend,
    also=_fa4_head_dim,
    note="compiles for about 2 s on the first call of a dtype",
)


def _load_swap(impl: str):
    """Try the swap on a small call: some releases activate and then fail inside it."""
    from torch.nn.attention import list_flash_attention_impls

    if impl not in list_flash_attention_impls():
        raise RuntimeError(f"torch {torch.__version__} offers {list_flash_attention_impls()}")
    probe = torch.zeros(1, 1, 128, 128, dtype=torch.bfloat16, device="cuda")
    _attend_swapped(impl, probe, probe, probe, None, None)
    return functools.partial(_attend_swapped, impl)


def _attend_swapped(impl: str, q, k, v, mask, scale) -> torch.Tensor:
    with process.swapped(impl):
        return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, scale=scale)[0]


def _run_swapped(function, q, k, v, mask, scale) -> torch.Tensor:
    return function(q, k, v, mask, scale)


SWAP_INSTALLS = {
    "FA3": "no package on PyPI; build the folder hopper of Dao-AILab/flash-attention",
    "FA4": "PyPI has flash-attn-4, but torch up to 2.11 does not fit its newest release",
}


def _swap(name: str, impl: str, limits: Limits):
    package = Package(
        f"torch's {impl} swap",
        ("torch",),
        functools.partial(_load_swap, impl),
        lambda environment: SWAP_INSTALLS[impl],
    )
    note = f"the same kernel as {impl.lower()}, called through torch; call {impl.lower()} directly if you can"
    return kernel(name, limits, package, _run_swapped, note=note)


TORCH_FA3 = _swap(
    "torch_fa3",
    "FA3",
    Limits("torch with FlashAttention-3", oldest=(9, 0), newest=(9, 0)),
)
TORCH_FA4 = _swap(
    "torch_fa4",
    "FA4",
    Limits("torch with FlashAttention-4", oldest=(9, 0), newest=(10, 3)),
)
