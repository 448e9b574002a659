"""The rows of one clip: the whole run, and each node that matters in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ....bench.results.answer import RUN
from ....bench.results.row import Results, Row
from .prompt import Prompt, clip_of, title
from .trial import Trial

LEAST_SHARE = 0.01  # of the whole run


class Rows:
    """Rows become part of the results as soon as they matter, and stay there."""

    def __init__(
        self,
        results: Results,
        workflow: str,
        prompt: Prompt,
        samplers: Iterable[str],
        labels: Mapping[str, str],
    ) -> None:
        size, frames = clip_of(prompt)
        self._place = {"model": workflow, "size": size, "frames": frames}
        self._results, self._prompt, self._labels = results, prompt, labels
        self._samplers = {title(prompt, key) for key in samplers}
        self._rows: dict[tuple[str, str], Row] = {}
        self._usual: set[str] = set()

    @property
    def name(self) -> str:
        """The clip in a few characters."""
        return f"{self._place['frames']}f" if self._place["frames"] else "clip"

    def add(self, backend: str, trial: Trial, number: int) -> None:
        """What a run took; number 0 is the first run, which is apart."""
        took = {RUN: trial.duration}
        if trial.whole:
            own = {key: spent for key, spent in trial.seconds.items() if key in self._prompt}
            took |= {title(self._prompt, key): spent for key, spent in own.items()}
        for part, seconds in took.items():
            row = self._row(backend, part)
            if number:
                row.times.append(round(seconds * 1000, 3))
            else:
                row.first = round(seconds * 1000, 3)
        self._describe(backend, trial.payloads.values())
        self._publish()
        if number:
            self._compare(backend, number, set(took) - {RUN})
        self._take_along(backend, trial, number)

    def fail(self, backend: str, sentence: str) -> None:
        """The setting cannot go on."""
        row = self._row(backend, RUN)
        if row.times:
            self._results.notes.append(f"{backend}, {self.name}: {sentence}")
        else:
            row.reason = sentence
        self._publish()

    def _row(self, backend: str, part: str) -> Row:
        label = self._labels[backend]
        fresh = Row(self._results.benchmark, backend, part, **self._place, settings=label)
        return self._rows.setdefault((backend, part), fresh)

    def _describe(self, backend: str, payloads: Iterable[dict]) -> None:
        """What ran in it, and the most memory that any of its runs took, as far as the diagnostics saw."""
        calls: Counter[str] = Counter()
        peaks = []
        for payload in payloads:
            calls.update(payload.get("totals") or {})
            peaks += [run["peak_gib"] for run in payload.get("runs") or [] if run.get("peak_gib")]
        for part in (RUN, *self._samplers):
            if row := self._rows.get((backend, part)):
                row.active = ", ".join(name for name, _ in calls.most_common()) or row.active
                known = [] if row.peak_gib is None else [row.peak_gib]
                row.peak_gib = max([*known, *peaks], default=None)

    def _publish(self) -> None:
        known = {id(row) for row in self._results.rows}
        matter = {part for backend, part in self._rows if self._matters(backend, part)}
        for (_, part), row in self._rows.items():
            if part in matter and id(row) not in known:
                self._results.rows.append(row)

    def _matters(self, backend: str, part: str) -> bool:
        if part == RUN or part in self._samplers:
            return True
        whole, spent = self._rows[backend, RUN].ms, self._rows[backend, part].ms
        return whole is not None and spent is not None and spent >= LEAST_SHARE * whole

    def _compare(self, backend: str, number: int, ran: set[str]) -> None:
        """A run that could not use the server's cache as the others did is longer for that."""
        more = ran - self._usual
        if self._usual and more and ran:
            self._results.notes.append(
                f"Run {number} of {backend}, {self.name}, also ran {', '.join(sorted(more))}, which earlier runs took "
                "from the server's cache; its whole time is longer for that."
            )
        self._usual |= ran

    def _take_along(self, backend: str, trial: Trial, number: int) -> None:
        place = {key: self._place[key] for key in ("size", "frames")}
        which = {"settings": self._labels[backend], "backend": backend, **place, "run": number}
        self._results.diagnostics += [
            {**which, "node": node, "payload": payload} for node, payload in trial.payloads.items()
        ]
