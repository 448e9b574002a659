"""Who put another kernel in the place of one of torch's, for the whole process."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F

OPERATORS = {
    "flash": "_scaled_dot_product_flash_attention",
    "efficient": "_scaled_dot_product_efficient_attention",
    "cudnn": "_scaled_dot_product_cudnn_attention",
    "flash on cpu": "_scaled_dot_product_flash_attention_for_cpu",
}
# Of the two kernels of one key, torch marks the hidden one as inactive; this matches the active one only.
REGISTERED = re.compile(r"^(?:CUDA|CPU): registered at (.+?):\d+ ::", re.MULTILINE)
ROOTS = ("site-packages", "dist-packages", "custom_nodes")
OWNERS = {
    "cudnn.torch.sdpa_provider": "nvidia-cudnn-frontend",
    "torch.nn.attention._fa3": "torch's swap to FlashAttention-3",
    "torch.nn.attention._fa4": "torch's swap to FlashAttention-4",
}


def replacements() -> list[str]:
    """A sentence for each of torch's attention kernels that is another's in this process. Takes some 0.2 ms."""
    found = F.scaled_dot_product_attention
    return replaced(_registered, _past_account(found))


def _past_account(function: Callable) -> Callable:
    """What a name leads to that is watched at the moment, wherever the name is: torch's own has two."""
    return getattr(function, "function", function)


def replacement(backend: str) -> str:
    """The sentence for one backend, empty where it is torch's own."""
    return next((told for told in replacements() if told.startswith(f"{backend} is not")), "")


def _registered(operator: str) -> str:
    try:
        return torch._C._dispatch_dump(f"aten::{operator}")
    except (AttributeError, RuntimeError):  # a torch without that operator, or without the list
        return ""


def replaced(registered: Callable[[str], str], attention: Callable) -> list[str]:
    """`registered` gives torch's list of an operator's kernels; `attention` is what stands under torch's name."""
    sentences = []
    for backend, operator in OPERATORS.items():
        found = REGISTERED.search(registered(operator))
        owner = _owner(found[1]) if found else ""
        if owner:
            sentences.append(_sentence(backend, owner))
    own = torch._C._nn.scaled_dot_product_attention  # pyright: ignore[reportAttributeAccessIssue]
    if attention is not _past_account(own):
        sentences.append(_sentence("scaled_dot_product_attention", _qualified(attention)))
    return sentences


def _sentence(what: str, owner: str) -> str:
    name = f"{owner} ({OWNERS[owner]})" if owner in OWNERS else owner
    return f"{what} is not torch's own in this process: {name} replaced it"


def _owner(path: str) -> str:
    """The module of the source file that registered a kernel, empty for torch's own. No folder of the user's."""
    parts = path.replace("\\", "/").split("/")
    if parts[-1].startswith(("RegisterCUDA", "RegisterCPU")):  # torch's generated files
        return ""
    root = max((place for place, part in enumerate(parts) if part in ROOTS), default=len(parts) - 2)
    return ".".join(parts[root + 1 :]).removesuffix(".py")


def _qualified(function: Callable) -> str:
    module = (getattr(function, "__module__", None) or "").replace("\\", "/").rpartition("/")[2]
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{module}.{name}" if module else name
