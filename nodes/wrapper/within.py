"""One forward of a model of WanVideoWrapper."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ...attention.call import Inputs
from ...attention.run import operator
from ...attention.run.forward import Forward, Place
from ...attention.run.given import Split
from .modes import DENSE, ENDS, SAGE_3, SPARSE, kept, way
from .places import Places

PLAIN = way(operator.plain, "sdpa", "HND")  # of compiled code that is left alone


@dataclass(slots=True)
class Within(Forward):
    """`other` is the role of a context that is neither text nor image, `chooses` whether some backend was asked for."""

    places: Places | None = None
    other: str = "other"
    chooses: bool = False

    def placed(self, q_len: int, kv_len: int, mode: str, foreign: bool, left: str) -> Place:
        """Of a call in `mode`, which `left` says must stay there."""
        assert self.places and self.taker
        role, block, name = self.places.of(self, q_len, kv_len, self.other)
        ends = mode == "sageattn" and self.places.mode(name) == SAGE_3
        dense = mode == "sdpa" and role.endswith("self") and self.places.mode(name) == SPARSE
        remark = ENDS.format(mode) if ends else DENSE if dense else ""
        left = left or (kept(mode, self.taker.takes_over) if self.chooses else "")
        return Place(
            role,
            block,
            left=left,
            fickle=foreign,
            asked=SAGE_3 if ends else mode,
            remark=remark,
        )

    def serve(self, q, k, v, mask, scale, block, protected):
        """What compiled code asks for: [batch, heads, tokens, head_dim], and no mode, since it holds none."""
        assert self.places and self.taker
        role, block, _ = self.places.of(self, q.shape[2], k.shape[2], self.other)
        place = Place(role, block, protected, asked="sdpa")
        leave = functools.partial(PLAIN, (q, k, v, mask, scale, block, protected), {}, q.shape[1])
        return self.taker.run(Split(Inputs(q, k, v, mask, scale), leave), place, self)
