"""One forward pass of the model: the facts that its attention calls share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from .record import Record
    from .recorder import Recorder
    from .stopwatch import Start


@dataclass(slots=True)
class Forward:
    """Step and conditioning of one forward, and who records its calls.

    `wish` is the backend that the user asked for, empty where nothing was asked. `text_len` and `image_len` are the token counts of the two kinds of context, where they are known.
    """

    step: int | None = None
    cond: str = ""
    wish: str = ""
    text_len: int | None = None
    image_len: int | None = None
    recorders: list[Recorder] = field(default_factory=list)
    handled: bool = False  # the last call has been recorded
    _own_text_next: bool = False

    def role(self, q_len: int, kv_len: int) -> str:
        """Tell self-attention from attention to text or image tokens by the lengths.

        Where a latent has exactly as many tokens as the text, Wan's fixed order decides: self, then text.
        """
        if q_len == kv_len:
            return self._self_or_text(kv_len)
        if kv_len == self.text_len:
            return "text"
        if kv_len == self.image_len:
            return "image"
        return "text" if self.text_len is None else "other"

    def start(self, device: torch.device) -> Start:
        return self.recorders[0].stopwatch.start(device) if self.recorders else None

    def stop(self, start: Start, device: torch.device, record: Record) -> None:
        if self.recorders:
            self.recorders[0].stopwatch.stop(start, device, record)

    def add(self, record: Record) -> None:
        self.handled = True
        for recorder in self.recorders:
            recorder.add(record)

    def _self_or_text(self, kv_len: int) -> str:
        if kv_len != self.text_len:
            return "self"
        self._own_text_next = not self._own_text_next
        return "self" if self._own_text_next else "text"
