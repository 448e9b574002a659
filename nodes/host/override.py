"""The function that goes into the host's attention slot."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from ...attention.call import Inputs, merge_heads, split_heads
from ...attention.choose.policy import unchoosable
from ...attention.record.name import name_of, owner_of
from ...attention.record.recorder import Recorder
from ...attention.run.dispatch import Dispatcher
from ...attention.run.forward import Forward, Place
from ...attention.run.operator import attend

KEY = "wanattn"
PRECISION = "low_precision_attention"
SLOT = "optimized_attention_override"
HOME = ("comfy", "comfy_extras")


class Override:
    """Takes the host's attention calls to a dispatcher, which may leave them to whoever had them before.

    They are left to `previous`, else to the host's own function.
    """

    def __init__(
        self, recorder: Recorder, previous: Callable | None, dispatcher: Dispatcher
    ) -> None:
        self.previous = previous
        self.dispatcher = dispatcher
        self.numbers = True  # graphs may hold the number of a block: no two blocks share one
        self._recorder = recorder
        self._known: dict[int, str] = {}

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
        protected = kwargs.get(PRECISION, True) is False
        place = Place(role, block, protected, self._kept(func), fickle)
        result = self.dispatcher.run(
            inputs, place, forward, self._leave(func, q, k, v, heads, rest, forward)
        )
        return merge_heads(result) if result.ndim == 4 and not skip_output_reshape else result

    def _leave(self, func, q, k, v, heads, rest: dict, forward: Forward) -> functools.partial:
        if self.previous is not None:
            return functools.partial(self.previous, func, q, k, v, heads, **rest)
        site = forward.site
        wished = site and wish_of(site.module)
        return functools.partial(wished or func, q, k, v, heads, **rest)

    def _kept(self, func) -> str:
        """Why a call stays with a function that another pack has put into the model, empty for the host's own."""
        if id(func) not in self._known:
            self._known[id(func)] = kept(func)
        return "" if self.dispatcher.takes_over else self._known[id(func)]

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
        block = options.get("block_index") if self.numbers else None
        result = attend(*inputs, block, protected)
        return result if rest["skip_output_reshape"] else merge_heads(result)


def kept(func: Callable) -> str:
    owner = owner_of(func)
    return "" if not owner or owner in HOME else f"{owner} keeps its own attention there"


def wish_of(module: torch.nn.Module) -> Callable | None:
    """The function that a file asks for in this module, on hosts that know of such wishes."""
    return getattr(getattr(module, "comfy_attention", None), "function", None)


def inputs_of(q, k, v, heads: int, rest: dict) -> Inputs:
    """What the host says of a call, as the kernels take it."""
    mask = rest["mask"]
    if mask is not None and mask.ndim != 4:
        mask = mask[None, None] if mask.ndim == 2 else mask[:, None]  # B H N M
    if not rest["skip_reshape"]:
        head_dim = q.shape[-1] // heads
        q, k, v = split_heads(q, head_dim), split_heads(k, head_dim), split_heads(v, head_dim)
    return Inputs(q, k, v, mask, rest.get("scale"))


def ahead(slot, own: Override) -> str:
    """What it means for a node that another function sits in the slot, empty if it gets its calls."""
    while isinstance(slot, Override) and slot is not own and not slot.dispatcher.chooses:
        slot = slot.previous
    if slot is own:
        return ""
    if isinstance(slot, Override):
        return "another Attention Backend after this one decides"
    if slot is None:
        return "something after this node took its attention off the model"
    return f"{name_of(slot)} was wired after this node and is asked first"
