"""Which test runs which line: noted once, without any fault."""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

IMPORT = ""  # stands for what runs while the tests are collected
Line = tuple[str, int]


@dataclass(eq=False)  # pluggy keeps plugins in sets
class Reach:
    """A plugin of pytest that notes, for every test, the lines of the folders that ran in it, and its seconds.

    What a fixture of several tests runs counts for each that uses it. `failed` are tests that fail meanwhile:
    noting takes time, which some have little of.
    """

    copy: Path
    folders: tuple[str, ...]
    lines: dict[str, set[Line]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed: list[str] = field(default_factory=list)
    _noted: set[Line] = field(default_factory=set)  # of what runs now
    _shared: dict[tuple[str, str], set[Line]] = field(default_factory=dict)
    _files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._noted = self.lines[IMPORT]

    def start(self) -> None:
        threading.settrace(self._entered)
        sys.settrace(self._entered)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        with self.noting(item.nodeid):
            result = yield
        self.lines[item.nodeid] |= self._of_fixtures(item.nodeid, item.fixturenames)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        if fixturedef.scope == "function":
            return (yield)
        with self._into(self._shared.setdefault((fixturedef.baseid, fixturedef.argname), set())):
            return (yield)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    @contextmanager
    def noting(self, test: str) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._entered)  # once more: what ran in the test before may have taken it away
        try:
            with self._into(self.lines[test]):  # also of a test that runs none of them
                yield
        finally:
            sys.settrace(before)

    def told(self) -> list[dict]:
        return [
            {"test": test, "seconds": self.seconds[test], "lines": sorted(lines)}
            for test, lines in self.lines.items()
            if test not in self.failed
        ]

    @contextmanager
    def _into(self, lines: set[Line]) -> Iterator[None]:
        before, self._noted = self._noted, lines
        try:
            yield
        finally:
            self._noted = before

    def _of_fixtures(self, test: str, used: list[str]) -> set[Line]:
        found = (
            lines
            for (place, name), lines in self._shared.items()
            if name in used and test.startswith(place)
        )
        return set().union(*found)

    def _entered(self, frame, event, argument):
        path = frame.f_code.co_filename
        if path not in self._files:
            self._files[path] = self._file(path)
        return self._line(frame, event, argument) if self._files[path] else None

    def _file(self, path: str) -> str:
        """Its name in the repository, empty for what is in none of the folders."""
        if not path.startswith(tuple(f"{self.copy / folder}{os.sep}" for folder in self.folders)):
            return ""
        return path[len(str(self.copy)) + 1 :].replace(os.sep, "/")

    def _line(self, frame, event, argument):
        self._noted.add((self._files[frame.f_code.co_filename], frame.f_lineno))
        return self._line
