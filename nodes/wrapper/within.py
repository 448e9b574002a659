"""One forward of a model of WanVideoWrapper."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NamedTuple

import torch

from ...attention.call import Inputs
from ...attention.run import operator
from ...attention.run.forward import Forward, Place
from ...attention.run.given import Given, Split, facts
from .modes import DENSE, ENDS, SAGE_3, SPARSE, Asked, Way, autocast_to, computed_in, kept, way
from .places import Places

PLAIN = way(operator.plain, "sdpa", heads_first=True)  # of compiled code that is left alone


class Found(NamedTuple):
    """Of calls that differ in nothing that decides: where they are made, the way back, the dtype for kernels, their facts.

    `dtype` is None where no kernel is to be chosen. Calls with the same facts have the very same object of them.
    """

    place: Place
    back: Way
    dtype: torch.dtype | None
    facts: tuple


@dataclass(kw_only=True)
class Within(Forward):
    """`other` is the role of a context that is neither text nor image, `chooses` whether some backend was asked for.

    `forced` are the blocks that have another mode than their own in this step, by a node of the wrapper.
    `known` is what was found in forwards of this run that are like this one.
    """

    places: Places
    other: str
    chooses: bool
    forced: frozenset[int]
    known: dict[tuple, Found]

    def found(
        self,
        caller: FrameType,
        call: Asked,
        function: Callable,
        heads_first: bool,
        casts: bool,
        foreign: bool,
    ) -> Found:
        """Of a call of one of the wrapper's functions, made in the frame `caller`."""
        name = self.places.running(caller)
        q, k, v, mode, mask, _, named, left = call
        cast = autocast_to(q.device.type) if self.chooses else None
        seen = facts(q, k, v, mask)
        key = (name, function, mode, left, named, foreign, cast, seen)
        found = self.known.get(key)
        if found is None:
            tokens = 2 if heads_first else 1
            place = self.placed(name, q.shape[tokens], k.shape[tokens], mode, foreign, left)
            dtype = computed_in(call, casts, cast) if self.chooses and not place.left else None
            same = self.places.same(heads_first, dtype, *seen)
            back = way(function, mode, heads_first)
            found = self.known[key] = Found(place, back, dtype, same)
        return found

    def placed(
        self, name: str, q_len: int, kv_len: int, mode: str, foreign: bool, left: str
    ) -> Place:
        """Of a call in `mode` that the module of that name makes, which `left` says must stay there."""
        key = (name, q_len, kv_len, mode, foreign, left, self.image_len, self.other, self.forced)
        place = self.places.placed.get(key)
        if place is None:
            place = self._place(name, q_len, kv_len, mode, foreign, left)
            self.places.placed[key] = place
        return place

    def _place(
        self, name: str, q_len: int, kv_len: int, mode: str, foreign: bool, left: str
    ) -> Place:
        assert self.taker
        role, block = self.places.of(self, name, q_len, kv_len, self.other)
        own = role != "self" or block not in self.forced
        ends = own and mode == "sageattn" and self.places.mode(name) == SAGE_3
        whole = own and mode == "sdpa" and role.endswith("self")
        dense = whole and self.places.mode(name) == SPARSE
        remark = ENDS.format(mode) if ends else DENSE if dense else ""
        left = left or (kept(mode, self.taker.takes_over) if self.chooses else "")
        asked = SAGE_3 if ends else mode
        return Place(role, block, left=left, fickle=foreign, asked=asked, remark=remark)

    def take(self, given: Given, place: Place) -> torch.Tensor:
        assert self.taker
        return self.taker.run(given, place, self)

    def serve(self, q, k, v, mask, scale, block, protected):
        """What compiled code asks for: [batch, heads, tokens, head_dim], and no mode, since it holds none."""
        name = self.places.running(sys._getframe())
        role, block = self.places.of(self, name, q.shape[2], k.shape[2], self.other)
        place = Place(role, block, protected, asked="sdpa")
        leave = functools.partial(PLAIN, q, k, v, mask, scale, block, protected)
        return self.take(Split(Inputs(q, k, v, mask, scale), leave), place)
