"""What torch.compile means for the nodes: a compiled graph outlives them and never calls their override."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.ldm.modules.attention as host_attention
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch._dynamo.eval_frame import OptimizedModule

from ....attention.run import operator
from ....attention.run.forward import Forward
from ..override import KEY, PRECISION, Override

WRAPPERS = "wrappers"  # of the host's options
OPTION = "torch_compile_kwargs"  # where the host keeps the settings of its compile node
TAKEN = (
    "compiled: attention stays one operator of the graph and its calls are recorded; "
    "per-call records, and the look at the outputs of approximate backends, end where the graph is replayed as a CUDA graph"
)
WATCHED = "compiled: per-call records end where the compiled graph begins"
RENEWED = "the compiled graph was older than this node: one forward ran without it, then torch compiled again"
log = logging.getLogger("wanattn")


class Server:
    """Answers the attention operator of compiled graphs during one forward, as the override would."""

    def __init__(self, override: Override, forward: Forward, given: dict) -> None:
        self.asked = self.captured = False
        # the options of the forward, in which the host keeps the number of its block
        self._given = given
        self._override = override
        self._forward = forward

    def follow(self, executor, *args, **kwargs):
        """Around the model itself, which writes the number of its block into the options that it is given."""
        known = (value for value in (*args, *kwargs.values()) if isinstance(value, dict))
        self._given = next((options for options in known if KEY in options), self._given)
        return executor(*args, **kwargs)

    def __call__(self, q, k, v, mask, scale, block, protected) -> torch.Tensor:
        self.asked = True
        forward = self._forward
        if q.is_cuda and torch.cuda.is_current_stream_capturing():  # nothing can be timed or read
            self.captured = True
            forward = dataclasses.replace(forward, proof="off", recorders=[], captures=[])
        block = self._given.get("block_index") if block is None else block
        options = {KEY: forward, "block_index": block}
        attend = functools.partial(self._override, host_attention.optimized_attention)
        facts = _facts(q, k, mask, scale, protected)
        return attend(q, k, v, q.shape[1], transformer_options=options, **facts)


def attend_as_host(q, k, v, mask, scale, block, protected) -> torch.Tensor:
    """What the host runs where no node of ours is left: a graph that was made with one still asks for attention."""
    facts = _facts(q, k, mask, scale, protected)
    return host_attention.optimized_attention(q, k, v, q.shape[1], **facts)


def _facts(q, k, mask, scale, protected: bool) -> dict:
    """How the host is told of a call of [batch, heads, tokens, head_dim]."""
    facts = {"mask": mask, "skip_reshape": True, "skip_output_reshape": True}
    facts |= {"_inside_attn_wrapper": True}  # else it would ask the override again
    facts |= {} if scale is None else {"scale": scale}
    facts |= {"enable_gqa": True} if k.shape[1] != q.shape[1] else {}
    return facts | ({PRECISION: False} if protected else {})


operator.set_own(attend_as_host)


class Graphs:
    """One tap's dealings with the compiled graphs of its model.

    The host's compile node lets torch reuse a graph whatever the model's options say. One that was made before
    Attention Backend was there never asks for attention: it is renewed.
    """

    def __init__(self) -> None:
        self.compiled = self.by_block = self.renewed = self._reached = self._given_up = False

    def begin(self, model) -> None:
        """At the start of a run."""
        whole, parts = OPTION in model.model_options, compiled_blocks(model)
        self.compiled = whole or bool(parts)
        self.by_block = parts > 1
        self.renewed = self._reached = False

    @contextmanager
    def serving(
        self, override: Override, forward: Forward, options: dict, certain: bool
    ) -> Iterator[None]:
        """`certain` is whether calls that go anywhere come to `override`."""
        server = Server(override, forward, options)
        before = options.get(WRAPPERS)
        if self.by_block:  # else the model itself is compiled, and this with it
            around = (before or {}).get(WrappersMP.DIFFUSION_MODEL, {})
            ours = {WrappersMP.DIFFUSION_MODEL: {**around, KEY: [server.follow]}}
            options[WRAPPERS] = {**(before or {}), **ours}
        with operator.serving(server):
            yield
        self.compiled |= server.asked
        self._given_up |= server.captured  # replays of a CUDA graph ask for nothing
        self._reached |= bool(forward.calls)
        if self.compiled and certain and taker(override) and not self._reached:
            self._renew()

    def _renew(self) -> None:
        """Once a run; where that does not help, never again."""
        self._given_up |= self.renewed
        if self._given_up:
            return
        self.renewed = True
        log.info("%s", RENEWED)
        torch.compiler.reset()

    def notes(self, takes: bool) -> list[str]:
        if not self.compiled:
            return []
        return [TAKEN if takes else WATCHED, *([RENEWED] if self.renewed else [])]


def compiled_blocks(model) -> int:
    """How many parts of it are compiled, each by itself: by an object patch, by an option of the host or in place."""
    modules = [*model.object_patches.values(), *model.model.diffusion_model.modules()]
    found = [m for m in modules if isinstance(m, OptimizedModule) or _in_place(m)]
    return len(found) + sum(map(_held, model.get_wrappers(WrappersMP.APPLY_MODEL, COMPILE_KEY)))


def _held(wrapper: Callable) -> int:
    """How many modules the wrapper of the host's compile helper puts into the model for each forward."""
    cells = [cell.cell_contents for cell in getattr(wrapper, "__closure__", None) or ()]
    return sum(len(held) for held in cells if isinstance(held, dict))


def _in_place(module: object) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None


def taker(slot) -> Override | None:
    """The override of ours that gets the calls, past those that only watch."""
    while isinstance(slot, Override) and not slot.dispatcher.chooses:
        slot = slot.previous
    return slot if isinstance(slot, Override) else None
