"""One forward pass of the model: the facts that its attention calls share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ..call import Inputs
    from ..record.record import Record
    from ..record.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that is over, with its tensors. `record` is None where it failed with `error`."""

    role: str
    block: int | None
    inputs: Inputs
    forward: Forward
    record: Record | None
    error: str = ""


@dataclass(slots=True)
class Forward:
    """Step and conditioning of one forward, and who records its calls.

    `wish` is the backend that the user asked for, empty where nothing was asked; `proof` how much is profiled, one of
    evidence.PROOFS, empty for what each kind of call needs. `text_len` and `image_len` are the token counts of the two
    kinds of context, where they are known. `captures` are told of every call once it is over; they must not raise.
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
    handled: bool = False  # the last call has been recorded
    last: Record | None = None
    _own_text_next: bool = False
    _passed_on: str = ""  # the role of the call that one override has left to another

    def role(self, q_len: int, kv_len: int) -> str:
        """Tell self-attention from attention to text or image tokens by the lengths.

        Where a latent has exactly as many tokens as the text, Wan's fixed order decides: self, then text.
        """
        if self._passed_on:
            return self._passed_on
        if q_len == kv_len:
            return self._self_or_text(kv_len)
        if kv_len == self.text_len:
            return "text"
        if kv_len == self.image_len:
            return "image"
        return "text" if self.text_len is None else "other"

    def passed_on(self, role: str, run: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Run what may come to another override of ours, which must not count the call again."""
        outer, self._passed_on = self._passed_on, role
        try:
            return run()
        finally:
            self._passed_on = outer

    def timed(
        self, run: Callable[[], torch.Tensor], device: torch.device, record: Record
    ) -> torch.Tensor:
        """Run, and have the time put into the record once the device has passed the call."""
        if not self.recorders:
            return run()
        stopwatch = self.recorders[0].stopwatch
        start = stopwatch.start(device)
        result = run()
        stopwatch.stop(start, device, record)
        return result

    @contextmanager
    def captured(self, role: str, block: int | None, inputs: Inputs) -> Iterator[None]:
        """Around one call, outside of what times it."""
        self.last, error = None, ""
        try:
            yield
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            for capture in self.captures:
                capture(Seen(role, block, inputs, self, self.last, error))

    def add(self, record: Record) -> None:
        self.handled, self.last = True, record
        for recorder in self.recorders:
            recorder.add(record)

    def _self_or_text(self, kv_len: int) -> str:
        if kv_len != self.text_len:
            return "self"
        self._own_text_next = not self._own_text_next
        return "self" if self._own_text_next else "text"
