"""What nobody should send and no file should hold."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

TEXTS = (
    "",
    " ",
    "0-",
    "-1",
    "1-0",
    "0-99999999999999999999",
    "\u0661\u0662",
    "a" * 5000,
    "0," * 20000,
    "../../../etc/passwd",
    "\x00",
    "\ud800",
    "<script>alert(1)</script>",
    "NaN",
    "1e309",
    "%s%n{0}",
    "\u202eevil",
)
VALUES = (None, True, -1, 1.5, [], {}, [[]], ["1", 0], ["99", 0], {"a": {"b": []}}, 10**30)


def prompt_inputs(chance: random.Random, graph: dict) -> dict:
    """The graph with one input of one of our nodes spoiled; what links give is for the host to check."""
    ours = [key for key, node in graph.items() if node["class_type"].startswith("WanAttn")]
    node = graph[chance.choice(ours)]
    typed = [name for name, value in node["inputs"].items() if not isinstance(value, list)]
    if not typed:
        return graph
    name = chance.choice(sorted(typed))
    node["inputs"][name] = chance.choice((*TEXTS, *VALUES))
    return graph


def _nested() -> bytes:
    return b"[" * 100_000


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _itself(path: Path) -> None:
    path.symlink_to(path)


def _text(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


FILES: dict[str, Callable[[Path], None]] = {
    "empty": _text(b" "),
    "not JSON": _text(b"\xff\xfe\x00garbage"),
    "nested": _text(_nested()),
    "wrong types": _text(json.dumps({"schema": [], "timings": 3, "devices": "x"}).encode()),
    "infinite": _text(b'{"schema": 1, "timings": {"a": [Infinity, NaN, 5e-324]}}'),
    "a list": _text(b"[1, 2, 3]"),
    "large": _text(b'{"a": "' + b"x" * 60_000_000 + b'"}'),
    "a folder": _folder,
    "a pipe": _pipe,
    "an endless device": _endless,
    "a link to itself": _itself,
}
