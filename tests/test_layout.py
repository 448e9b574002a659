"""The arrows of the house: which room may know which. Imports inside functions count too."""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path

import pytest
from wanattn.tests.test_publish import ROOT, published, tracked

# From the ground up; a room may know those of its own storey and below.
STOREYS = (
    ("version.py",),
    (
        "attention/call.py",
        "attention/environment.py",
        "attention/failure.py",
        "attention/filename.py",
    ),
    ("attention/patience.py", "attention/disk.py", "attention/wan.py"),
    ("attention/backends/",),
    ("attention/choose/",),
    ("attention/record/",),
    ("attention/run/",),
    ("attention/report/",),
    ("attention/__init__.py",),
    ("bench/",),
    ("nodes/",),
    ("commands/",),
    ("__init__.py", "__main__.py"),
)
MOST_ROOMS = {
    "attention": 12
}  # of one folder, its __init__ not counted; the host takes more to bind


def rooms() -> list[str]:
    tops = {storey.partition("/")[0] for names in STOREYS for storey in names}
    return [n for n in tracked() if n.endswith(".py") and n.partition("/")[0] in tops]


def storey(name: str) -> int:
    return next(
        number
        for number, names in enumerate(STOREYS)
        if any(name == given or (given.endswith("/") and name.startswith(given)) for given in names)
    )


def imported(name: str) -> set[str]:
    """The files of the pack that a file imports, by their names in the repository."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = (ROOT / name).parents[node.level - 1]
            base = folder.joinpath(*(node.module or "").split("."))
            for alias in node.names:
                found.add(file_of(base / alias.name) or file_of(base))
    return {target for target in found if target and target != name}


def file_of(path: Path) -> str | None:
    """By its letters, since a disk that does not tell cases apart finds backend.py for the class Backend."""
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.as_posix() in known():
            return candidate.relative_to(ROOT).as_posix()
    return None


@functools.cache
def known() -> frozenset[str]:
    return frozenset((ROOT / name).as_posix() for name in rooms())


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    return {name: imported(name) for name in rooms()}


def test_every_room_has_its_storey_and_knows_only_what_stands_below(arrows):
    upward = [
        f"{name} -> {target}"
        for name, targets in arrows.items()
        for target in targets
        if storey(target) > storey(name)
    ]
    assert upward == []


def test_no_room_knows_itself_by_way_of_others(arrows):
    """The folders' faces only hand names on, so a circle through one is a circle of those behind it."""
    plain = {
        name: {target for target in targets if not target.endswith("__init__.py")}
        for name, targets in arrows.items()
    }
    list(graphlib.TopologicalSorter(plain).static_order())  # CycleError names the circle


def test_nothing_published_knows_what_is_not(arrows):
    there = set(published())
    assert {name for name in arrows if name in there} >= {"__init__.py", "commands/main.py"}
    lost = [
        f"{name} -> {target}"
        for name, targets in arrows.items()
        for target in targets
        if name in there and target not in there
    ]
    assert lost == []


def test_no_folder_is_too_full():
    """What cannot be taken in at a glance wants folders of its own."""
    found: dict[str, int] = {}
    for name in rooms():
        folder, _, file = name.rpartition("/")
        found[folder] = found.get(folder, 0) + (file != "__init__.py")
    limit = {folder: MOST_ROOMS.get(folder.partition("/")[0], 15) for folder in found}
    assert {folder for folder, count in found.items() if count > limit[folder]} == set()
