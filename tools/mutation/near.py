"""The tests that a fault is tried against, those first that are likely to notice it soon."""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path, PurePosixPath

Line = tuple[str, int]
QUICK = 0.1  # seconds


@dataclass(frozen=True)
class Near:
    """What `Reach` noted, to ask. `readers` names the files that import a file."""

    lines: Mapping[str, frozenset[Line]]
    at_import: frozenset[Line]
    seconds: Mapping[str, float]
    readers: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, told: list[dict], readers: Mapping[str, frozenset[str]] | None = None) -> Near:
        lines = {one["test"]: frozenset(map(tuple, one["lines"])) for one in told}
        at_import = lines.pop("", frozenset())
        seconds = {one["test"]: one["seconds"] for one in told}
        return cls(lines, at_import, seconds, readers or {})

    def tests(self, file: str, code: str, line: int) -> list[str]:
        """All that run the statement; of one that runs at import, all that run anything of the file, and its room."""
        wanted = {(file, number) for number in _statement(code, line)}
        found = self._that(wanted)
        room = self._room(Path("tests", file).parent)
        if wanted & self.at_import or _at_import(code, line):  # a test's fixture may import it
            found |= self._that_run({file})
            found |= room or self._that_run(self.readers.get(file, frozenset()))
        found = found or room or self._named(file) or self._that_run({file})
        return self._ordered(found, file)

    def _room(self, folder: Path) -> set[str]:
        """What a module holds may be read without running a line of it."""
        if len(folder.parts) < 2:
            return set()
        found = {test for test in self.lines if test.startswith(f"{folder.as_posix()}/")}
        return found or self._room(folder.parent)

    def _named(self, file: str) -> set[str]:
        """What runs only in other processes of a test, as the actors of Raylight, is noted of none."""
        return {test for test in self.lines if _distance(test.partition("::")[0], file) < 2}

    def _that_run(self, files: Iterable[str]) -> set[str]:
        return set().union(*(self._by_file.get(file, ()) for file in files))

    @cached_property
    def _by_file(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for test, lines in self.lines.items():
            for file in {file for file, _ in lines}:
                found[file].add(test)
        return found

    def _that(self, wanted: set[Line]) -> set[str]:
        return {test for test, lines in self.lines.items() if wanted & lines}

    def within(self, tests: list[str], seconds: float) -> list[str]:
        """As many of them as take so long, at least one."""
        took = list(accumulate(self.seconds[test] for test in tests))
        return tests[: max(bisect_right(took, seconds), 1)]

    def _ordered(self, tests: set[str], file: str) -> list[str]:
        """File by file, what they share being made for each; first one of each function, since its others are like it.

        Quick ones wait for nothing.
        """
        by_file: dict[str, list[str]] = defaultdict(list)
        for test in sorted(tests, key=self._cost):
            by_file[test.partition("::")[0]].append(test)
        names = sorted(
            by_file, key=lambda name: (_distance(name, file), *self._cost(by_file[name][0]))
        )
        ordered = [test for name in names for test in by_file[name]]
        nearest = {test.partition("[")[0]: test for test in reversed(ordered)}
        first = {*nearest.values(), *(test for test in ordered if self.seconds[test] < QUICK)}
        return sorted(ordered, key=lambda test: test not in first)

    def _cost(self, test: str) -> tuple[float, str]:
        """A test is near a line if it runs few others."""
        return self.seconds[test] * (1 + len(self.lines[test])), test


def readers(root: Path, folders: Iterable[str]) -> dict[str, frozenset[str]]:
    """By file, which others name it in an import."""
    paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    named = {path: _imported(path.read_text(encoding="utf-8")) for path in paths}
    return {
        path.relative_to(root).as_posix(): frozenset(
            other.relative_to(root).as_posix() for other in paths if _name(path) in named[other]
        )
        for path in paths
    }


def _name(path: Path) -> str:
    return path.parent.name if path.stem == "__init__" else path.stem


def _imported(code: str) -> set[str]:
    """The last names of the modules in its imports, and what it takes from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.name.rpartition(".")[2] for alias in node.names}
            names |= {(getattr(node, "module", None) or "").rpartition(".")[2]}
    return names


def _distance(test_file: str, file: str) -> int:
    """0 if the tests are named as the module, 1 as its folder, 2 otherwise."""
    words = PurePosixPath(test_file).stem.split("_")[1:]
    module = PurePosixPath(file)
    for distance, name in enumerate((module.stem, module.parent.name)):
        if any(word.startswith(name) or name.startswith(word) for word in words):
            return distance
    return 2


def _at_import(code: str, line: int) -> bool:
    """Whether it is in no function's body."""
    functions = (
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return not any(node.body[0].lineno <= line <= (node.end_lineno or 0) for node in functions)


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
