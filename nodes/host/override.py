"""The function that goes into the host's attention slot."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch

from ...attention.call import Inputs, merge_heads, split_heads
from ...attention.choose.policy import unchoosable
from ...attention.record.name import name_of, owner_of
from ...attention.record.recorder import Recorder
from ...attention.run.dispatch import Dispatcher
from ...attention.run.forward import Forward, Place
from ...attention.run.given import facts
from ...attention.run.operator import attend
from ...attention.run.site import Site

KEY = "wanattn"
PRECISION = "low_precision_attention"
SLOT = "optimized_attention_override"
WISH = "comfy_attention"  # of an attention module, on hosts that know of such wishes
HOME = ("comfy", "comfy_extras")


class HostCall:
    """Tensors are [batch, tokens, heads * head_dim], apart by heads already where `rest` says `skip_reshape`.

    `back` is the function that runs the call where it is left alone, with `args` and `kwargs`.
    """

    __slots__ = ("_inputs", "args", "back", "heads", "k", "kwargs", "q", "rest", "v")

    def __init__(
        self, back: Callable, args: tuple, kwargs: dict, q, k, v, heads: int, rest: dict
    ) -> None:
        self.back = back
        self.args = args
        self.kwargs = kwargs
        self.q = q
        self.k = k
        self.v = v
        self.heads = heads
        self.rest = rest
        self._inputs: Inputs | None = None

    @property
    def lengths(self) -> tuple[int, int]:
        """Query and key tokens."""
        q, k, apart = self.q, self.k, self.rest["skip_reshape"]
        return q.shape[2 if apart else 1], k.shape[2 if apart else 1]

    @property
    def protected(self) -> bool:
        return self.rest.get(PRECISION, True) is False

    def facts(self) -> tuple:
        rest = self.rest
        return self.heads, rest["skip_reshape"], *facts(self.q, self.k, self.v, rest["mask"])

    def device(self) -> torch.device:
        return self.q.device

    def inputs(self) -> Inputs:
        if self._inputs is None:
            self._inputs = self._split()
        return self._inputs

    def _split(self) -> Inputs:
        q, k, v, mask = self.q, self.k, self.v, self.rest["mask"]
        if mask is not None and mask.ndim != 4:
            mask = mask[None, None] if mask.ndim == 2 else mask[:, None]  # B H N M
        if not self.rest["skip_reshape"]:
            head_dim = q.shape[-1] // self.heads
            q, k, v = split_heads(q, head_dim), split_heads(k, head_dim), split_heads(v, head_dim)
        return Inputs(q, k, v, mask, self.rest.get("scale"))

    def leave(self) -> torch.Tensor:
        return self.back(*self.args, **self.kwargs)

    def laid_out(self, result: torch.Tensor) -> torch.Tensor:
        """As the host asked for it; what it ran itself is so already."""
        if result.ndim != 4 or self.rest["skip_output_reshape"]:
            return result
        return merge_heads(result)


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
        forward = options.get(KEY)
        if forward is None:
            if KEY in options:  # the forward of another model, which no node of ours is wired to
                return self._passed_on(func, q, k, v, heads, rest)
            forward = Forward(recorders=[self._recorder])
        site = forward.site
        call = self._call(func, q, k, v, heads, rest, site)
        block = site.block if site else None
        block = options.get("block_index") if block is None else block
        role = forward.role(*call.lengths, block)
        place = Place(role, block, call.protected, self._kept(func), self.previous is not None)
        if not forward.inside:
            return call.laid_out(self.dispatcher.run(call, place, forward))
        return self._within(call, place, forward)

    def _within(self, call: HostCall, place: Place, forward: Forward) -> torch.Tensor:
        """A call within another that was left alone, which is told what this one gave."""
        before = forward.within
        result = call.laid_out(self.dispatcher.run(call, place, forward))
        forward.within, forward.gave = before, weakref.ref(result)
        return result

    def _passed_on(self, func, q, k, v, heads, rest: dict):
        if self.previous is not None:
            return self.previous(func, q, k, v, heads, **rest)
        return func(q, k, v, heads, **rest)

    def _call(self, func, q, k, v, heads, rest: dict, site: Site | None) -> HostCall:
        if self.previous is not None:
            return HostCall(self.previous, (func, q, k, v, heads), rest, q, k, v, heads, rest)
        wished = wish_of(site.module) if site else None
        return HostCall(wished or func, (q, k, v, heads), rest, q, k, v, heads, rest)

    def _kept(self, func) -> str:
        """Why a call stays with a function that another pack has put into the model, empty for the host's own."""
        if id(func) not in self._known:
            self._known[id(func)] = kept(func)
        return "" if self.dispatcher.takes_over else self._known[id(func)]

    def _in_graph(self, func, q, k, v, heads, rest: dict):
        """What the compiler traces: one operator, or what it would trace without this pack."""
        policy = self.dispatcher.policy
        if not self.dispatcher.chooses or unchoosable(q.device.type, policy):
            return self._passed_on(func, q, k, v, heads, rest)
        options = rest.get("transformer_options") or {}
        block = options.get("block_index") if self.numbers else None
        call = HostCall(func, (), {}, q, k, v, heads, rest)
        return call.laid_out(attend(*call.inputs(), block, call.protected))


def kept(func: Callable) -> str:
    owner = owner_of(func)
    return "" if not owner or owner in HOME else f"{owner} keeps its own attention there"


def wish_of(module: torch.nn.Module) -> Callable | None:
    """The function that a file asks for in this module, on hosts that know of such wishes."""
    asked = module._modules.get(WISH) or vars(module).get(WISH)  # torch takes long to miss a name
    return getattr(asked, "function", None)


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
