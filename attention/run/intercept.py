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
from ..choose.measure.timings import Timings
from ..choose.policy import Policy
from ..record.recorder import Recorder
from .dispatch import Dispatcher
from .forward import Forward, Place
from .given import Split

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
        run = functools.partial(self.dispatcher.run, forward=self.forward)
        return answer_sdpa(run, self._place, function, *args, **(kwargs or {}))

    def _place(self, q_len: int, kv_len: int) -> Place:
        return Place(self.forward.role(q_len, kv_len, self.block), self.block)

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


def past_sdpa(forward: Forward, function: Callable, args: tuple, kwargs: dict, foreign: bool):
    """A call of SDPA that a watched model makes past its host's hook."""
    if forward.taker is None:
        return function(*args, **kwargs)
    site = forward.site
    block = site.block if site else None
    via = site.how() if site else "made outside the modules that are known"

    def place(q_len: int, kv_len: int) -> Place:
        return Place(forward.role(q_len, kv_len, block), block, fickle=foreign, via=via)

    run = functools.partial(forward.taker.run, forward=forward)
    return answer_sdpa(run, place, function, *args, **kwargs)


def answer_sdpa(
    run: Callable[..., torch.Tensor],
    place: Callable[[int, int], Place],
    function: Callable,
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
) -> torch.Tensor:
    """`run` is given inputs, the place and the way back to `function`, which is torch's or stands in its place."""
    options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
    if query.ndim == 3:
        return _single_head(run, place, function, query, key, value, attn_mask, options)
    options["enable_gqa"] = enable_gqa
    leave = functools.partial(function, query, key, value, attn_mask, **options)
    if query.ndim != 4:
        return leave()
    found = place(query.shape[2], key.shape[2])
    found = found._replace(left=CAUSAL) if is_causal or dropout_p else found
    mask = attn_mask
    if mask is not None and mask.ndim < 4:
        mask = mask[(None,) * (4 - mask.ndim)]  # B H N M
    return run(Split(Inputs(query, key, value, mask, scale), leave), found)


def _single_head(run, place, function, query, key, value, attn_mask, options: dict):
    """Tensors of [batch, tokens, head_dim]."""
    if attn_mask is not None and attn_mask.ndim == 3:
        attn_mask = rearrange(attn_mask, "b n m -> b 1 n m")
    q, k, v = (rearrange(x, "b n d -> b 1 n d") for x in (query, key, value))
    return rearrange(
        answer_sdpa(run, place, function, q, k, v, attn_mask, **options), "b 1 n d -> b n d"
    )
