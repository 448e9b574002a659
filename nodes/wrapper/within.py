"""One forward of a model of WanVideoWrapper."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from types import FrameType

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

    def placed(
        self, caller: FrameType, q_len: int, kv_len: int, mode: str, foreign: bool, left: str
    ) -> Place:
        """Of a call in `mode`, made in the frame `caller`, which `left` says must stay there."""
        assert self.places
        name = self.places.running(caller)
        key = (name, q_len, kv_len, mode, foreign, left, self.image_len, self.other)
        place = self.places.known.get(key)
        if place is None:
            place = self._place(name, q_len, kv_len, mode, foreign, left)
            self.places.known[key] = place
        return place

    def _place(
        self, name: str, q_len: int, kv_len: int, mode: str, foreign: bool, left: str
    ) -> Place:
        assert self.places and self.taker
        role, block = self.places.of(self, name, q_len, kv_len, self.other)
        ends = mode == "sageattn" and self.places.mode(name) == SAGE_3
        dense = mode == "sdpa" and role.endswith("self") and self.places.mode(name) == SPARSE
        remark = ENDS.format(mode) if ends else DENSE if dense else ""
        left = left or (kept(mode, self.taker.takes_over) if self.chooses else "")
        asked = SAGE_3 if ends else mode
        return Place(role, block, left=left, fickle=foreign, asked=asked, remark=remark)

    def serve(self, q, k, v, mask, scale, block, protected):
        """What compiled code asks for: [batch, heads, tokens, head_dim], and no mode, since it holds none."""
        assert self.places and self.taker
        name = self.places.running(sys._getframe(1))
        role, block = self.places.of(self, name, q.shape[2], k.shape[2], self.other)
        place = Place(role, block, protected, asked="sdpa")
        leave = functools.partial(PLAIN, q, k, v, mask, scale, block, protected)
        return self.taker.run(Split(Inputs(q, k, v, mask, scale), leave), place, self)
