"""The function that goes into the host's attention slot."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...attention.call import Call, Inputs, merge_heads, split_heads
from ...attention.record.name import name_of
from ...attention.record.recorder import Recorder
from ...attention.run.dispatch import Dispatcher
from ...attention.run.forward import Forward
from ...attention.run.observer import Observer
from ...attention.run.operator import attend

KEY = "wanattn"
PRECISION = "low_precision_attention"
SLOT = "optimized_attention_override"
Split = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
CHOOSABLE = ("cpu", "cuda", "mps")  # where torch lets one choose its kernel
MEASURED = ("cpu", "cuda")  # where `auto` has something to choose from


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

    def reset(self, steps: int = 0) -> None:
        self.observer.reset()
        if self.dispatcher:
            self.dispatcher.reset(steps)

    @property
    def leaves(self) -> bool:
        """Whether calls are for the host, or for another override, to run."""
        return self.dispatcher is None or self.dispatcher.leaves

    @property
    def replaced(self) -> str | None:
        """The name of another pack's override that no longer gets its turn."""
        if self.leaves or self.previous is None or isinstance(self.previous, Override):
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
        shape = {"skip_reshape": skip_reshape, "skip_output_reshape": skip_output_reshape}
        rest = {"mask": mask, "attn_precision": attn_precision, **shape, **kwargs}
        if torch.compiler.is_compiling():
            return self._in_graph(func, q, k, v, heads, rest)
        options = kwargs.get("transformer_options") or {}
        forward = options.get(KEY) or Forward(recorders=[self._recorder])
        block = options.get("block_index")
        split = (q, k, v) if skip_reshape else _split(q, k, v, heads)
        role = forward.role(split[0].shape[2], split[1].shape[2])
        given = (func, q, k, v, heads, rest)
        if not forward.captures:
            return self._answer(given, split, forward, block, role)
        inputs = Inputs(*split, _four_dimensional(mask), kwargs.get("scale"))
        with forward.captured(role, block, inputs):
            return self._answer(given, split, forward, block, role)

    def _answer(self, given: tuple, split: Split, forward: Forward, block: int | None, role: str):
        """`given` is what the host said, `split` the tensors of it as [batch, heads, tokens, head_dim]."""
        rest = given[-1]
        wish = self.dispatcher.wish(role, forward.step, block) if self.dispatcher else ""
        if self.dispatcher and wish != "host" and self._takes(split[0], self.dispatcher, wish):
            mask, scale = _four_dimensional(rest["mask"]), rest.get("scale")
            result = self.dispatcher.run(
                *split, mask, scale, forward, block, role, _protected(rest)
            )
            return result if rest["skip_output_reshape"] else merge_heads(result)

        call = Call.of(*split, rest["mask"], role, _protected(rest))
        name = name_of(self.previous or given[0])
        return self.observer.run(
            call,
            lambda: forward.passed_on(role, lambda: self._pass_on(*given)),
            name,
            forward,
            block,
            self._why_left(wish or forward.wish, name, call),
            wish,
            fickle=self.previous is not None,
        )

    def _in_graph(self, func, q, k, v, heads, rest: dict):
        """What the compiler traces: one operator, or what it would trace without this pack."""
        dispatcher = self.dispatcher
        if dispatcher is None or not self._takes(q, dispatcher, dispatcher.policy.backend):
            return self._pass_on(func, q, k, v, heads, rest)
        queries, keys, values = (q, k, v) if rest["skip_reshape"] else _split(q, k, v, heads)
        options = rest.get("transformer_options") or {}
        mask, scale = _four_dimensional(rest["mask"]), rest.get("scale")
        block, protected = options.get("block_index"), _protected(rest)
        result = attend(queries, keys, values, mask, scale, block, protected)
        return result if rest["skip_output_reshape"] else merge_heads(result)

    def _pass_on(self, func, q, k, v, heads, rest: dict):
        if self.previous:
            return self.previous(func, q, k, v, heads, **rest)
        return func(q, k, v, heads, **rest)

    def _takes(self, q: torch.Tensor, dispatcher: Dispatcher, wish: str) -> bool:
        """A named backend that must run or stop the run gets its say on any device."""
        if wish == "auto":
            return q.device.type in MEASURED
        return q.device.type in CHOOSABLE or dispatcher.policy.on_refusal == "stop"

    def _why_left(self, wish: str, name: str, call: Call) -> str:
        if wish in ("", "host"):
            return ""
        if self.dispatcher and call.device_type in CHOOSABLE:
            return f"auto has nothing to choose from on {call.device_type}"
        if self.dispatcher:
            return f"torch's kernels cannot be chosen one by one on {call.device_type}"
        return f"{name} was wired after Attention Backend and took the call"


def _split(q, k, v, heads: int) -> Split:
    head_dim = q.shape[-1] // heads
    return split_heads(q, head_dim), split_heads(k, head_dim), split_heads(v, head_dim)


def _protected(rest: dict) -> bool:
    """Whether the model asks for no low precision, as core does for Wan's attention to image tokens."""
    return rest.get(PRECISION, True) is False


def _four_dimensional(mask: torch.Tensor | None) -> torch.Tensor | None:
    if mask is None or mask.ndim == 4:
        return mask
    return mask[None, None] if mask.ndim == 2 else mask[:, None]  # B H N M
