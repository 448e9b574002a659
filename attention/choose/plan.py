"""What was decided for each kind of call, and decided anew where a kernel breaks."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..call import Call
from ..record.record import Sighting
from .policy import Choice, Policy
from .tuner import Measurement


@dataclass(slots=True)
class Plan:
    """What was decided for one kind of call. `failed` holds the backends that broke on it, with the reasons."""

    call: Call
    policy: Policy
    choice: Choice
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    measured: dict[str, Measurement] = field(default_factory=dict)
    error: Exception | None = None
    sighting: Sighting | None = None
