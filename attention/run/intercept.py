"""The same dispatch for any PyTorch model that calls F.scaled_dot_product_attention."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange
from torch.overrides import TorchFunctionMode

from ..call import Inputs
from ..choose.policy import Policy
from ..choose.timings import Timings
from ..record.recorder import Recorder
from .dispatch import Dispatcher
from .forward import Forward, Place

CAUSAL = "causal or dropout call, left to torch"


class Intercept(TorchFunctionMode):
    """While entered, this thread's SDPA calls run under `policy` and go to `recorder`.

    Calls with dropout or a causal flag are left to torch and recorded as such. With `timings_of` the policy `auto`
    measures its choice.
    """

    def __init__(
        self,
        policy: Policy,
        recorder: Recorder | None = None,
        timings_of: Callable[[str], Timings] | None = None,
    ) -> None:
        super().__init__()
        self.recorder = recorder or Recorder()
        self.forward = Forward(wish=policy.backend, recorders=[self.recorder])
        self.block: int | None = None
        self.dispatcher = Dispatcher(policy, timings_of=timings_of)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not F.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    def _attend(
        self,
        query,
        key,
        value,
        attn_mask=None,
        dropout_p=0.0,
        is_causal=False,
        scale=None,
        enable_gqa=False,
    ):
        options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
        if query.ndim == 3:
            return self._attend_single_head(query, key, value, attn_mask, options)
        leave = functools.partial(
            F.scaled_dot_product_attention,
            *(query, key, value, attn_mask),
            enable_gqa=enable_gqa,
            **options,
        )
        if query.ndim != 4:
            return leave()
        role = self.forward.role(query.shape[2], key.shape[2], self.block)
        place = Place(role, self.block, left=CAUSAL if is_causal or dropout_p else "")
        inputs = Inputs(query, key, value, attn_mask, scale)
        return self.dispatcher.run(inputs, place, self.forward, leave)

    def _attend_single_head(self, query, key, value, attn_mask, options: dict):
        """Tensors of [batch, tokens, head_dim]."""
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = rearrange(attn_mask, "b n m -> b 1 n m")
        q, k, v = (rearrange(x, "b n d -> b 1 n d") for x in (query, key, value))
        return rearrange(self._attend(q, k, v, attn_mask, **options), "b 1 n d -> b n d")

    @contextmanager
    def numbering(self, blocks: Iterable[torch.nn.Module]):
        """Number the calls by the block that makes them."""
        hooks = [
            block.register_forward_pre_hook(self._entering(index))
            for index, block in enumerate(blocks)
        ]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()
            self.block = None

    def _entering(self, index: int):
        def hook(module, inputs):
            self.block = index

        return hook
