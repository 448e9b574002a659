"""One forward pass of the model: the facts that its attention calls share."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch

from ..call import Inputs
from ..failure import text
from ..record.record import Record
from ..record.recorder import Recorder
from .given import Given
from .site import CROSS, Site


class Place(NamedTuple):
    """Where in a forward a call is made, and what is known of it beside its tensors.

    `protected` is a call that the model wants in full precision. `left` says why it goes back to where it came from,
    empty where it need not. `fickle` is whether what runs there may change with the step, `via` how the call went past
    the host's hook, empty where it came through it. `opaque` is a call within which others may come through it. Of a call
    that is left alone, `asked` is what the model itself asked for and `remark` what is to be said of it.
    """

    role: str
    block: int | None = None
    protected: bool = False
    left: str = ""
    fickle: bool = False
    via: str = ""
    opaque: bool = False
    asked: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that is over, with its tensors. `record` is None where it failed with `error`."""

    place: Place
    inputs: Inputs
    forward: Forward
    record: Record | None
    error: str = ""


class Unreachable(RuntimeError):
    """A call that must run on a backend ran where nobody can reach it."""

    __module__ = "wanattn"
    step: int | None = None

    def __init__(self, wish: str, site: Site) -> None:
        head = f"Attention Backend '{wish}' cannot reach {site.name}."
        self.block = site.block
        self.sentence = f"{site.how()}, and makes no attention call that ComfyUI or torch shows"
        self.advice = "Set on_refusal to 'next best', or take off what replaced it."
        super().__init__(f"{head}\n  {self.sentence}\n{self.advice}")


class Taker(Protocol):
    """Whoever runs calls of a forward."""

    takes_over: bool

    def run(self, given: Given, place: Place, forward: Forward) -> torch.Tensor: ...


@dataclass(slots=True)
class Forward:
    """Step and conditioning of one forward, and who records its calls.

    `wish` is the backend that the user asked for, empty where nothing was asked; `proof` how much is profiled, one of
    evidence.PROOFS, empty for what each kind of call needs. `text_len` and `image_len` are the token counts of the two
    kinds of context, where they are known. `captures` are told of every call once it is over; they must not raise.
    `calls` counts what was recorded, `last` is the newest. `sites` are the modules that it is in, each with the calls
    when it began; `inside` is whether a call is under way, `within` how many attention functions it called itself and `gave`
    what a call within it gave; `taker` answers those that go past the hook, and with
    `strict` one that nobody can reach ends the run. `seek` tells the role of a call that neither a site nor lengths
    tell, empty if it cannot; `sought` is what it told.
    """

    step: int | None = None
    sigma: float | None = None
    cond: str = ""
    wish: str = ""
    proof: str = ""
    text_len: int | None = None
    image_len: int | None = None
    recorders: list[Recorder] = field(default_factory=list)
    captures: list[Callable[[Seen], None]] = field(default_factory=list)
    calls: int = 0
    last: Record | None = None
    sites: list[tuple[Site, int]] = field(default_factory=list)
    inside: bool = False
    taker: Taker | None = None
    strict: str = ""
    within: int = 0
    gave: weakref.ref[torch.Tensor] | None = None
    seek: Callable[[], str] | None = None
    sought: dict[tuple[int, int], str] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict) -> Forward:
        return self  # a copy of the options that carry it is still of this forward

    @property
    def site(self) -> Site | None:
        """The innermost module that calls attention."""
        return self.sites[-1][0] if self.sites else None

    def role(self, q_len: int, kv_len: int, block: int | None = None) -> str:
        """What the module is for; where that is not known, self, text or image by the lengths.

        Where a latent has exactly as many tokens as the text, Wan's fixed order decides: self, then text.
        """
        if self.sites and (role := self.sites[-1][0].role):
            return role if role != CROSS else self._context(kv_len)
        if q_len == kv_len:
            return "text" if kv_len == self.text_len and self._past_self(block) else "self"
        if kv_len == self.text_len:
            return "text"
        if kv_len == self.image_len:
            return "image"
        return "text" if self.text_len is None else self._sought(q_len, kv_len)

    def _sought(self, q_len: int, kv_len: int) -> str:
        if self.sites or self.seek is None:
            return "other"
        if (q_len, kv_len) not in self.sought:
            self.sought[q_len, kv_len] = self.seek() or "other"
        return self.sought[q_len, kv_len]

    def _context(self, kv_len: int) -> str:
        return "text" if self.text_len is None or kv_len == self.text_len else "image"

    def miss(self, site: Site) -> None:
        """A module that calls attention ran and made no call that can be seen."""
        role = site.role or "other"
        for recorder in self.recorders:
            recorder.miss(site.how(), "text" if role == CROSS else role)
        if self.strict:
            raise Unreachable(self.strict, site)

    def _past_self(self, block: int | None) -> bool:
        last = self.last
        return last is not None and last.block == block and last.call.role in ("self", "image")

    def timed(
        self,
        run: Callable[..., torch.Tensor],
        operands: Sequence[object],
        device: torch.device,
        record: Record,
    ) -> torch.Tensor:
        """Run, and have the time put into the record once the device has passed the call."""
        if not self.recorders:
            return run(*operands)
        stopwatch = self.recorders[0].stopwatch
        start = stopwatch.start(device)
        result = run(*operands)
        stopwatch.stop(start, device, record)
        return result

    @contextmanager
    def captured(self, place: Place, inputs: Inputs) -> Iterator[None]:
        """Around one call, outside of what times it."""
        self.last, error = None, ""
        try:
            yield
        except Exception as broken:
            error = f"{type(broken).__name__}: {text(broken)}"
            raise
        finally:
            for capture in self.captures:
                capture(Seen(place, inputs, self, self.last, error))

    def passed_on(self, result: object) -> bool:
        """Whether this is what the call within gave."""
        gave = self.gave() if self.gave else None
        if gave is None or not isinstance(result, torch.Tensor):
            return False
        return gave is result or gave.data_ptr() == result.data_ptr()

    def add(self, record: Record) -> None:
        self.calls += 1
        self.last = record
        for recorder in self.recorders:
            recorder.add(record)
