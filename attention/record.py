"""One attention call as it happened."""

from __future__ import annotations

from dataclasses import dataclass

from .call import Call
from .evidence import Sighting


@dataclass(slots=True)
class Record:
    """`active` is what ran; `evidence` says how that is known: forced, profiled or host.

    `sighting` is what the profiler saw in a call of this kind; with `mismatch` it contradicts what was forced.
    `milliseconds` is filled in once the device has passed the call, and stays None where nothing can time it.
    """

    call: Call
    requested: str
    active: str
    evidence: str
    reason: str = ""
    step: int | None = None
    block: int | None = None
    cond: str = ""
    milliseconds: float | None = None
    sighting: Sighting | None = None
    mismatch: bool = False
