"""What the user asked to be measured, checked before any server is asked."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from ....attention.wan import Video
from ....bench import lists
from . import prompt

DEFAULT_REPEAT = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """`frames` holds None for the workflow's own. `labels` has one for each backend. `repeat` is without first runs."""

    url: str
    workflow: str
    prompt: prompt.Prompt
    backends: tuple[str, ...]
    labels: tuple[str, ...]
    baseline: str
    frames: tuple[int | None, ...]
    size: str | None
    repeat: int
    any_model: bool
    timeout: float

    @property
    def replaced(self) -> tuple[str, ...]:
        """The measures of the video that are not the workflow's."""
        length = () if self.frames == (None,) else ("length",)
        return (*length, *(("width", "height") if self.size else ()))

    @classmethod
    def of(cls, options: argparse.Namespace) -> Plan:
        """Raises ValueError for what cannot be measured."""
        backends = tuple(lists.words(options.backends, "--backends", "host,auto"))
        if not options.timeout > 0:  # nor is nan
            raise ValueError(f"--timeout {options.timeout:g}, needs more than 0 seconds")
        path = Path(options.workflow)
        graph = prompt.load(path)
        return cls(
            url=options.url,
            workflow=path.stem,
            prompt=graph if options.seed is None else prompt.with_seed(graph, options.seed),
            backends=backends,
            labels=labels_in(options.settings or "", len(backends)),
            baseline=baseline_of(options.against, backends),
            frames=frames_in(options.frames),
            size=size_in(options.size),
            repeat=DEFAULT_REPEAT if options.repeat is None else options.repeat,
            any_model=options.any_model,
            timeout=options.timeout,
        )


def labels_in(text: str, count: int) -> tuple[str, ...]:
    """One label for all backends, or one for each."""
    labels = tuple(part.strip() for part in text.split(","))
    if len(labels) not in (1, count):
        raise ValueError(f"--settings has {len(labels)} labels, needs 1 or {count}, one a backend")
    return labels * count if len(labels) == 1 else labels


def baseline_of(asked: str | None, backends: tuple[str, ...]) -> str:
    if asked and asked not in backends:
        raise ValueError(f"--against {asked}, needs one of the measured {', '.join(backends)}")
    return asked or ("host" if "host" in backends else backends[0])


def frames_in(text: str | None) -> tuple[int | None, ...]:
    if text is None:
        return (None,)
    found = lists.numbers(text, "--frames", "25,49,81")
    return tuple(Video(frames=number).frames for number in found)


def size_in(text: str | None) -> str | None:
    return None if text is None else Video.of(text, 81).size
