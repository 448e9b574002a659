"""What a call would take without this pack: the function that would have run, timed beside the one that does."""

from __future__ import annotations

import logging

from .. import failure
from ..backends import Backend
from ..call import Call, Inputs
from ..choose.plan import MEASURED, capturing
from ..record.record import Record
from .forward import Forward

MOST_ON_CPU = 2e10  # floating-point operations of a call: a slow function may take a minute for one of a real video
log = logging.getLogger("wanattn")


class Beside:
    """Runs `default` twice for each kind of call and keeps the second time, the first may compile or load something.

    Nothing is waited for: the time is read with those of the other calls. Errors of the types in `passing` come through,
    whatever else goes wrong only leaves a kind without a time.
    """

    def __init__(self, default: Backend | None, passing: tuple[type[BaseException], ...]) -> None:
        self._default = default
        self._passing = passing
        self._found: dict[Call, Record] = {}

    @property
    def milliseconds(self) -> dict[Call, float]:
        """By kind of call, as far as they are known."""
        found = list(self._found.items())
        return {call: each.milliseconds for call, each in found if each.milliseconds is not None}

    @property
    def spent(self) -> float:
        """Milliseconds on the device."""
        return 2 * sum(self.milliseconds.values())

    def time(self, call: Call, inputs: Inputs, forward: Forward) -> None:
        default = self._default
        if default is None or call in self._found or not _worth(call) or capturing(inputs.q):
            return
        record = Record(call, default.name, default.name, "host")
        self._found[call] = record
        try:
            default.run(*inputs)
            forward.timed(default.run, inputs, inputs.q.device, record)
        except self._passing:
            raise
        except Exception as error:  # a figure is a help, never a condition
            log.info(
                "%s was not timed for %s: %s", default.label, call.describe(), failure.words(error)
            )
            failure.release(error)


def _worth(call: Call) -> bool:
    if call.device_type == "cpu" and call.flops > MOST_ON_CPU:
        return False
    return call.device_type in MEASURED
