"""What was tried, kept as lines of JSON that are written one by one."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

Fault = tuple[str, tuple[int, int], str, int]  # file, line and column, operator, occurrence


@dataclass(frozen=True)
class Results:
    """`tree` is the state of the repository; a file of results is of one only."""

    path: Path | None
    tree: str

    def known(self) -> dict[Fault, dict]:
        """What was tried before, by fault."""
        lines = lines_of(self.path) if self.path and self.path.exists() else []
        if any(one.get("tree") != self.tree for one in lines):
            sys.exit(f"{self.path} of another state of the repository, needs a file of its own")
        return {fault_of(one): one for one in lines}

    def keep(self, tried: dict) -> dict:
        line = {"tree": self.tree, **tried}
        print(json.dumps(line), file=sys.stderr, flush=True)
        if self.path:
            with self.path.open("a", encoding="utf-8") as results:
                print(json.dumps(line), file=results)
        return line


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fault_of(line: dict) -> Fault:
    at, column = line["place"]
    return line["file"], (at, column), line["operator"], line["occurrence"]
