"""Which test runs which line: a fault is tried against the tests that reach it, the quickest first."""

from __future__ import annotations

import ast
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


@dataclass
class Reach:
    """A plugin of pytest that notes, for every test, the lines of the folders that ran in it, and its seconds.

    `failed` are tests that fail meanwhile: noting takes time, which some have little of.
    """

    copy: Path
    folders: tuple[str, ...]
    lines: dict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed: list[str] = field(default_factory=list)
    _test: str = IMPORT
    _files: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        threading.settrace(self._entered)
        sys.settrace(self._entered)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        with self.noting(item.nodeid):
            return (yield)

    @contextmanager
    def noting(self, test: str) -> Iterator[None]:
        before, self._test = sys.gettrace(), test
        self.lines[test] = self.lines[test]  # also of a test that runs none of them
        sys.settrace(self._entered)  # once more: what ran in the test before may have taken it away
        try:
            yield
        finally:
            self._test = IMPORT
            sys.settrace(before)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def told(self) -> list[dict]:
        return [
            {"test": test, "seconds": self.seconds[test], "lines": sorted(lines)}
            for test, lines in self.lines.items()
            if test not in self.failed
        ]

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
        self.lines[self._test].add((self._files[frame.f_code.co_filename], frame.f_lineno))
        return self._line


@dataclass(frozen=True)
class Reached:
    """What `Reach` noted, to ask."""

    lines: dict[str, frozenset[tuple[str, int]]]
    seconds: dict[str, float]

    @classmethod
    def of(cls, told: list[dict]) -> Reached:
        lines = {one["test"]: frozenset(map(tuple, one["lines"])) for one in told}
        return cls(lines, {one["test"]: one["seconds"] for one in told})

    def tests(self, file: str, code: str, line: int) -> list[str]:
        """All that run the statement; for one that runs at import, all of its room and all that run anything of the file."""
        wanted = {(file, number) for number in _statement(code, line)}
        found = self._that(wanted)
        if not found or wanted & self.lines.get(IMPORT, frozenset()):
            found |= self._that({(file, number) for number in range(1, code.count("\n") + 2)})
            found |= self._room(Path("tests", file).parent)
        return sorted(found, key=lambda test: (self.seconds[test], test))

    def _room(self, folder: Path) -> set[str]:
        """What a module holds may be read without running a line of it."""
        found = {test for test in self.lines if test.startswith(f"{folder.as_posix()}/")}
        return found or (self._room(folder.parent) if folder.name else set())

    def _that(self, wanted: set[tuple[str, int]]) -> set[str]:
        return {test for test, lines in self.lines.items() if test != IMPORT and wanted & lines}


def _statement(code: str, line: int) -> range:
    """The lines of the innermost statement, of a compound one its head."""
    spans = [span for span in _spans(ast.parse(code)) if line in span]
    return min(spans, key=len, default=range(line, line + 1))


def _spans(tree: ast.AST) -> Iterator[range]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            first, last = _head(node)
            yield range(first, last + 1)


def _head(node) -> tuple[int, int]:
    body = getattr(node, "body", None)
    decorators = getattr(node, "decorator_list", [])
    pattern = getattr(node, "pattern", node)
    first = min(part.lineno for part in (*decorators, pattern))
    return first, max(first, body[0].lineno - 1) if body else node.end_lineno
