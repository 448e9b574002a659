"""What a call would take without this pack: the function that would have run, timed beside the one that does."""

from __future__ import annotations

import logging
import statistics

from .. import failure
from ..backends import Backend
from ..backends.replaced import replacements
from ..call import Call, Inputs
from ..choose.plan import MEASURED, capturing
from ..record.record import Record
from .forward import Forward

MOST_ON_CPU = 2e10  # floating-point operations of a call: a slow function may take a minute for one of a real video
TIMED = {"cpu": 5, "cuda": 1}  # a processor is shared with others, and its calls here are short
log = logging.getLogger("wanattn")


class Beside:
    """Runs `default` once for each kind of call, since it may compile or load something, and TIMED times for the clock.

    Nothing is waited for: the time is read with those of the other calls. Errors of the types in `passing` come through,
    whatever else goes wrong only leaves a kind without a time.
    """

    def __init__(self, default: Backend | None, passing: tuple[type[BaseException], ...]) -> None:
        self._default = default
        self._passing = passing
        self._found: dict[Call, list[Record]] = {}

    @property
    def milliseconds(self) -> dict[Call, float]:
        """By kind of call, as far as they are known."""
        found = {call: _known(records) for call, records in list(self._found.items())}
        return {call: statistics.median(times) for call, times in found.items() if times}

    @property
    def spent(self) -> float:
        """Milliseconds on the device."""
        found = [_known(records) for records in list(self._found.values())]
        return sum(sum(times) + statistics.median(times) for times in found if times)

    def time(self, call: Call, inputs: Inputs, forward: Forward) -> None:
        default = self._default
        if default is None or call in self._found or not _worth(call) or capturing(inputs.q):
            return
        self._found[call] = records = []
        if replacements():  # what would be timed is not the host's default but a stranger's
            return
        try:
            default.run(*inputs)
            for _ in range(TIMED[call.device_type]):
                record = Record(call, default.name, default.name, "host")
                forward.timed(default.run, inputs, inputs.q.device, record)
                records.append(record)
        except self._passing:
            raise
        except Exception as error:  # a figure is a help, never a condition
            log.info(
                "%s was not timed for %s: %s", default.label, call.describe(), failure.words(error)
            )
            failure.release(error)


def _known(records: list[Record]) -> list[float]:
    return [each.milliseconds for each in list(records) if each.milliseconds is not None]


def _worth(call: Call) -> bool:
    if call.device_type == "cpu" and call.flops > MOST_ON_CPU:
        return False
    return call.device_type in MEASURED
