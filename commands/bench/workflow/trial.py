"""What one run of a workflow took, from what the server tells while it runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

UPDATE = "wanattn.update"
ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass
class Trial:
    """Nodes go by their ids in the workflow; `names` translates those that only this run has. Times are seconds.

    `watchers` are the diagnostics whose reports are kept. `seconds` go from a node's start to the next one's start.
    `whole` is false after a gap in the connection: then the times of nodes are unknown.
    """

    prompt_id: str
    names: Mapping[str, str]
    watchers: Collection[str]
    seconds: dict[str, float] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    payloads: dict[str, dict] = field(default_factory=dict)
    progress: tuple[int, int] | None = None
    end: str = ""
    facts: dict = field(default_factory=dict)
    whole: bool = True
    _node: str | None = None
    _last: str = ""
    _since: float = 0.0
    _span: list[float] = field(default_factory=list)

    def feed(self, event: Mapping, now: float) -> bool:
        """One event of the server, received at `now`. False, and left out, if it is of another run."""
        kind, data = event.get("type"), event.get("data")
        if not isinstance(data, dict):
            return False
        if kind == UPDATE:
            return self._hear(data)
        if data.get("prompt_id") != self.prompt_id:
            return False
        self._take(str(kind), data, now)
        return True

    def _hear(self, payload: dict) -> bool:
        node = self.names.get(str(payload.get("node")))
        if node is not None and node in self.watchers:
            self.payloads[node] = payload
        return node is not None

    def _take(self, kind: str, data: dict, now: float) -> None:
        if kind == "execution_start":
            self._span = [now]
        elif kind == "execution_cached":
            self.cached = {self._named(node) for node in data.get("nodes", [])}
        elif kind == "executing":
            self._enter(data.get("node"), now)
        elif kind == "progress":
            self.progress = (int(data.get("value", 0)), int(data.get("max", 0)))
        elif kind in ENDS:
            self._finish(kind, data, now)

    def lose_track(self) -> None:
        """Events were lost."""
        self.whole, self._node = False, None

    def settle(self, history: Mapping) -> None:
        """Take the end from the server's record of the run, whose clock is the server's own."""
        messages = (history.get("status") or {}).get("messages") or []
        stamps = {}
        for kind, data in messages:
            stamps[kind] = data.get("timestamp")
            if kind == "execution_cached":
                self._take(kind, data, 0.0)
            if kind in ENDS:  # an event of that name may also be a node that others are blocked by
                self.end, self.facts = kind, data
        start, end = stamps.get("execution_start"), stamps.get(self.end)
        if start is not None and end is not None:
            self._correct((end - start) / 1000)
            self._span = [start / 1000, end / 1000]
        if not self.end:
            self.end = "execution_success" if _succeeded(history) else "execution_error"

    @property
    def duration(self) -> float:
        """Seconds of the whole run, 0 where the server does not say."""
        return self._span[1] - self._span[0] if len(self._span) == 2 else 0.0

    @property
    def failed_at(self) -> str:
        return self._named(self.facts.get("node_id"))

    def _correct(self, seconds: float) -> None:
        """Servers tidy up before they send that a run has ended; that is no time of its last node."""
        late = self.duration - seconds
        if late > 0 and self._last in self.seconds:
            self.seconds[self._last] = max(self.seconds[self._last] - late, 0.0)

    def _enter(self, node: str | None, now: float) -> None:
        if self._node is not None:
            self.seconds[self._node] = self.seconds.get(self._node, 0.0) + now - self._since
            self._last = self._node
        self._node, self._since = node and self._named(node), now

    def _finish(self, kind: str, data: dict, now: float) -> None:
        self._enter(None, now)
        self.end, self.facts = kind, data
        self._span = [*self._span[:1], now]

    def _named(self, node) -> str:
        return self.names.get(node, str(node))


def _succeeded(history: Mapping) -> bool:
    return (history.get("status") or {}).get("status_str") == "success"
