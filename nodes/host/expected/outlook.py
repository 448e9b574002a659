"""What a node expects of the next run: its model's file, its video, and what each kind of call will run on."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

from ....attention.call import Call
from ....attention.choose.forecast import BY_RULES, Forecast, forecast
from ....attention.choose.measure.timings import Timing
from ....attention.environment import probe
from ....attention.run.dispatch import Dispatcher
from ..functions import default
from .sizes import calls_of, shape_of, video_of
from .wired import Prompt, expert_of, file_of, size_of

log = logging.getLogger("wanattn")


@dataclass(frozen=True, slots=True)
class Wired:
    """What the prompt tells: the checkpoint's file, and width, height and frames of the latent."""

    file: str = ""
    size: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, prompt: Prompt | None, node: str | None) -> Wired:
        try:
            return cls(file_of(prompt, node), size_of(prompt, node))
        except Exception:  # a client may send anything, and a run is worth more than its forecast
            log.exception("the prompt of node %s tells nothing", node)
            return cls()

    @property
    def model(self) -> dict[str, str]:
        told = {"file": self.file, "expert": expert_of(self.file)}
        return {name: text for name, text in told.items() if text}


@dataclass(frozen=True, slots=True)
class Outlook:
    video: dict | None = None
    forecast: tuple[dict, ...] = ()


def before(model, wired: Wired, taker: Dispatcher | None) -> Outlook:
    """As soon as the model is known. Without a taker it is open who will take the calls."""
    if wired.size is None:
        return Outlook()
    return _guarded(model, shape_of(model, *wired.size), taker, "")


def at_start(model, shape: tuple[int, ...], taker: Dispatcher | None) -> Outlook:
    """Of a run that begins on a latent of this shape; what nobody takes is the host's."""
    return _guarded(model, shape, taker, default().label)


def _guarded(model, shape, taker: Dispatcher | None, host: str) -> Outlook:
    try:
        calls = calls_of(model, shape)
        told = tuple(_forecast(call, taker, host).plain() for call in calls)
        return Outlook(video_of(model, shape), told)
    except Exception:  # a run is worth more than its forecast
        log.exception("no forecast of the run")
        return Outlook()


def _forecast(call: Call, taker: Dispatcher | None, host: str) -> Forecast:
    if taker is None:
        return Forecast(call, "host" if host else "", host, "")
    wish = _wish(taker, call.role)
    if not wish:
        return Forecast(call, taker.policy.backend, "", BY_RULES)
    known = _timings(taker, call)
    policy = dataclasses.replace(taker.policy, backend=wish)
    return forecast(call, policy, probe(), known, host or default().label)


def _timings(taker: Dispatcher, call: Call) -> dict[str, Timing]:
    """Of such calls; the host may put both conditionings into one batch."""
    if taker.timings_of is None:
        return {}
    timings = taker.timings_of(call.device)
    return timings.read(call) or timings.read(dataclasses.replace(call, batch=2 * call.batch))


def _wish(taker: Dispatcher, role: str) -> str:
    """The backend that is asked for in all calls of a role, empty where that depends on the block or the step."""
    rules = [rule for rule in taker.rules if rule.role in ("any", role)]
    if any(rule.blocks or rule.steps for rule in rules):
        return ""
    return rules[-1].backend if rules else taker.policy.backend
