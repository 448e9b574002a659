"""What a choice of backends gains in a job against the function that would have run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from ..call import Call
from ..record.recorder import Row, Snapshot, Tally

AGAINST = "ComfyUI's default"
HOW = "timed beside it at the first call of each kind"


def gain_of(snapshot: Snapshot, default: Mapping[Call, float]) -> dict | None:
    """How many times faster attention and the whole job were; None where a part of it was not measured.

    `default` is the milliseconds of one call by kind. The job's share is known once its last run is over: what is not
    attention is taken to last as long either way.
    """
    times = [_times(key, tally, default) for key, tally in snapshot.rows.items()]
    if None in times or not any(key.call in default for key in snapshot.rows):
        return None
    ours, theirs = (sum(part) for part in zip(*filter(None, times), strict=True))
    if not ours:
        return None
    whole = _whole(snapshot, ours, theirs)
    return {
        "attention": _rounded(theirs / ours),
        "run": whole and _rounded(whole),
        "against": AGAINST,
        "how": HOW,
    }


def _times(key: Row, tally: Tally, default: Mapping[Call, float]) -> tuple[float, float] | None:
    """Milliseconds of a row's calls as they ran and as they would have; what was left to the host took what it took."""
    if not tally.times:
        return None
    median = statistics.median(tally.times)
    if key.requested == "host":
        return median * tally.calls, median * tally.calls
    beside = default.get(key.call)
    return None if beside is None else (median * tally.calls, beside * tally.calls)


def _whole(snapshot: Snapshot, ours: float, theirs: float) -> float | None:
    if any(run.state != "finished" for run in snapshot.runs):
        return None
    seconds = sum(run.seconds - run.measuring for run in snapshot.runs)
    return (seconds + (theirs - ours) / 1e3) / seconds if seconds > ours / 1e3 else None


def _rounded(factor: float) -> float:
    return float(f"{factor:.3g}")
