"""The function that goes into the host's attention slot."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..attention.call import Call
from ..attention.dispatch import Dispatcher, Observer, name_of
from ..attention.forward import Forward
from ..attention.layout import merge_heads, split_heads
from ..attention.recorder import Recorder

KEY = "wanattn"
SLOT = "optimized_attention_override"
CHOOSABLE = ("cpu", "cuda", "mps")  # where torch lets one choose its kernel


class Override:
    """Takes the host's attention calls to a dispatcher, or leaves them to whoever had them before.

    Without a dispatcher the calls go to `previous`, else to the host's own function, and are only observed.
    """

    def __init__(
        self, recorder: Recorder, previous: Callable | None, dispatcher: Dispatcher | None = None
    ) -> None:
        self.previous = previous
        self.dispatcher = dispatcher
        self.observer = Observer()
        self._recorder = recorder

    def __deepcopy__(self, memo: dict) -> Override:
        return self  # core 0.8 copies model options deeply with every clone

    def reset(self) -> None:
        self.observer.reset()
        if self.dispatcher:
            self.dispatcher.reset()

    @property
    def replaced(self) -> str | None:
        """The name of another pack's override that no longer gets its turn."""
        if self.dispatcher is None or self.previous is None or isinstance(self.previous, Override):
            return None
        return name_of(self.previous)

    @torch.compiler.disable
    def __call__(
        self,
        func,
        q,
        k,
        v,
        heads,
        mask=None,
        attn_precision=None,
        skip_reshape=False,
        skip_output_reshape=False,
        **kwargs,
    ):
        options = kwargs.get("transformer_options") or {}
        forward = options.get(KEY) or Forward(recorders=[self._recorder])
        block = options.get("block_index")
        queries, keys, values = (q, k, v) if skip_reshape else _split(q, k, v, heads)
        if self.dispatcher and self._takes(queries, self.dispatcher):
            result = self.dispatcher.run(
                queries, keys, values, _four_dimensional(mask), kwargs.get("scale"), forward, block
            )
            return result if skip_output_reshape else merge_heads(result)

        def original():
            shape = {"skip_reshape": skip_reshape, "skip_output_reshape": skip_output_reshape}
            rest = {"mask": mask, "attn_precision": attn_precision, **shape, **kwargs}
            return (
                (self.previous(func, q, k, v, heads, **rest))
                if self.previous
                else func(q, k, v, heads, **rest)
            )

        call = Call.of(queries, keys, values, mask, forward.role(queries.shape[2], keys.shape[2]))
        name = name_of(self.previous or func)
        return self.observer.run(
            call, original, name, forward, block, self._why_left(forward, name, call)
        )

    def _takes(self, q: torch.Tensor, dispatcher: Dispatcher) -> bool:
        return q.device.type in CHOOSABLE or dispatcher.policy.on_refusal == "stop"

    def _why_left(self, forward: Forward, name: str, call: Call) -> str:
        if forward.wish in ("", "host"):
            return ""
        if self.dispatcher:
            return f"torch's kernels cannot be chosen one by one on {call.device_type}"
        return f"{name} was wired after Attention Backend and took the call"


def _split(q, k, v, heads: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    head_dim = q.shape[-1] // heads
    return split_heads(q, head_dim), split_heads(k, head_dim), split_heads(v, head_dim)


def _four_dimensional(mask: torch.Tensor | None) -> torch.Tensor | None:
    if mask is None or mask.ndim == 4:
        return mask
    return mask[None, None] if mask.ndim == 2 else mask[:, None]  # B H N M
