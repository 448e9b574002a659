"""What a benchmark found: a row for each backend in each place that it was measured in."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

Error = float  # infinite for an output that is not finite


@dataclass(slots=True)
class Row:
    """One backend in one place, filled while it is measured. Times are milliseconds, one of `times` a round.

    `part` is what was timed: a role, `forward`, or a node of a workflow. `active` is what ran. `first` is the first
    time, with plan building, compilation or loading in it, `tuning` what `auto` took to choose; neither is in `times`.
    `rate` is the TFLOP/s that the card's matrix products reached beside it. `error` is relative to the answer in
    float64, of a whole forward to the baseline's output; `peak_gib` is what a kernel's call takes on top of its tensors,
    elsewhere all there is at the peak. `reason` says why there are no times.
    """

    benchmark: str
    backend: str
    part: str
    model: str = ""
    size: str = ""
    frames: int = 0
    dtype: str = ""
    settings: str = ""
    heads: int | None = None
    q_len: int | None = None
    kv_len: int | None = None
    active: str = ""
    times: list[float] = field(default_factory=list)
    first: float | None = None
    tuning: float | None = None
    flops: int | None = None
    rate: float | None = None
    error: Error | None = None
    peak_gib: float | None = None
    reason: str = ""

    @property
    def place(self) -> tuple:
        """What rows must share to be compared."""
        shape = (self.heads, self.q_len, self.kv_len)
        return (self.benchmark, self.model, self.size, self.frames, self.dtype, self.part, *shape)

    @property
    def ms(self) -> float | None:
        return statistics.median(self.times) if self.times else None

    @property
    def spread(self) -> float | None:
        """How far the times are apart, as a share of the median; None for fewer than two.

        From five on without one at either end.
        """
        if len(self.times) < 2:
            return None
        ordered = sorted(self.times)
        cut = len(ordered) >= 5
        return (ordered[-1 - cut] - ordered[cut]) / statistics.median(ordered)

    @property
    def tflops(self) -> float | None:
        """Of the two matrix products of attention, per second."""
        return self.flops / self.ms / 1e9 if self.flops and self.ms else None

    @property
    def share(self) -> float | None:
        """Of the rate of this card's plain matrix products."""
        return self.tflops / self.rate if self.tflops and self.rate else None


@dataclass(slots=True)
class Results:
    """The rows of one benchmark and where they come from.

    `baseline` is the backend that the others are set against, empty for none. `notes` are sentences for the reader. `diagnostics` are the reports of the runs of a workflow, payload schema 1.
    `finished` is false while rows may be missing.
    """

    benchmark: str
    environment: dict[str, str | int | float | None]
    baseline: str = ""
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    diagnostics: list[dict] = field(default_factory=list)
    finished: bool = False
