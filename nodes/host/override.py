"""The function that goes into the host's attention slot."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from ...attention.call import Inputs, merge_heads, split_heads
from ...attention.choose.policy import unchoosable
from ...attention.record.name import name_of
from ...attention.record.recorder import Recorder
from ...attention.run.dispatch import Dispatcher
from ...attention.run.forward import Forward, Place
from ...attention.run.operator import attend

KEY = "wanattn"
PRECISION = "low_precision_attention"
SLOT = "optimized_attention_override"


class Override:
    """Takes the host's attention calls to a dispatcher, which may leave them to whoever had them before.

    They are left to `previous`, else to the host's own function.
    """

    def __init__(
        self, recorder: Recorder, previous: Callable | None, dispatcher: Dispatcher
    ) -> None:
        self.previous = previous
        self.dispatcher = dispatcher
        self._recorder = recorder

    def __deepcopy__(self, memo: dict) -> Override:
        return self  # core 0.8 copies model options deeply with every clone

    @property
    def replaced(self) -> str | None:
        """The name of another pack's override that no longer gets its turn."""
        if self.dispatcher.leaves or self.previous is None or isinstance(self.previous, Override):
            return None
        return name_of(self.previous)

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
        rest = {
            "mask": mask,
            "attn_precision": attn_precision,
            "skip_reshape": skip_reshape,
            "skip_output_reshape": skip_output_reshape,
            **kwargs,
        }
        if torch.compiler.is_compiling():
            return self._in_graph(func, q, k, v, heads, rest)
        options = kwargs.get("transformer_options") or {}
        forward = options.get(KEY) or Forward(recorders=[self._recorder])
        inputs = inputs_of(q, k, v, heads, rest)
        block = forward.sites[-1][0].block if forward.sites else None
        block = options.get("block_index") if block is None else block
        role = forward.role(inputs.q.shape[2], inputs.k.shape[2], block)
        fickle = self.previous is not None
        place = Place(role, block, kwargs.get(PRECISION, True) is False, "", fickle)
        result = self.dispatcher.run(
            inputs, place, forward, self._leave(func, q, k, v, heads, rest)
        )
        return merge_heads(result) if result.ndim == 4 and not skip_output_reshape else result

    def _leave(self, func, q, k, v, heads, rest: dict) -> functools.partial:
        if self.previous is not None:
            return functools.partial(self.previous, func, q, k, v, heads, **rest)
        return functools.partial(func, q, k, v, heads, **rest)

    def _in_graph(self, func, q, k, v, heads, rest: dict):
        """What the compiler traces: one operator, or what it would trace without this pack."""
        policy = self.dispatcher.policy
        if not self.dispatcher.chooses or unchoosable(q.device.type, policy):
            if self.previous is not None:
                return self.previous(func, q, k, v, heads, **rest)
            return func(q, k, v, heads, **rest)
        options = rest.get("transformer_options") or {}
        protected = rest.get(PRECISION, True) is False
        inputs = inputs_of(q, k, v, heads, rest)
        result = attend(*inputs, options.get("block_index"), protected)
        return result if rest["skip_output_reshape"] else merge_heads(result)


def inputs_of(q, k, v, heads: int, rest: dict) -> Inputs:
    """What the host says of a call, as the kernels take it."""
    mask = rest["mask"]
    if mask is not None and mask.ndim != 4:
        mask = mask[None, None] if mask.ndim == 2 else mask[:, None]  # B H N M
    if not rest["skip_reshape"]:
        head_dim = q.shape[-1] // heads
        q, k, v = split_heads(q, head_dim), split_heads(k, head_dim), split_heads(v, head_dim)
    return Inputs(q, k, v, mask, rest.get("scale"))
