"""Every small fault that could be made in a source file, and a fair sample of them."""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import mutate_code

NEED_ARGUMENTS = ("VariableReplacer", "VariableInserter")  # they mutate what they are told to
Place = tuple[int, int]  # line and column


@dataclass(frozen=True, order=True)
class Mutant:
    """One fault: the `occurrence` of an operator of cosmic-ray in a file."""

    file: str
    place: Place
    operator: str
    occurrence: int

    def source(self, root: Path) -> str:
        """The whole file with the fault in it."""
        code = (root / self.file).read_text(encoding="utf-8")
        changed = mutate_code(code, _made(self.operator), self.occurrence)
        if changed is None:
            raise ValueError(f"{self} is not there: the file changed")
        return changed


def sample(root: Path, folders: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """`count` places at random, one fault at each: an operator with eleven replacements counts as often as a `not`.

    They come in no order, so that those tried before an interruption are a fair sample too.
    """
    places: dict[tuple[str, Place], list[Mutant]] = defaultdict(list)
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            for mutant in faults(root, path.relative_to(root).as_posix()):
                places[mutant.file, mutant.place].append(mutant)
    chance = random.Random(seed)
    chosen = chance.sample(sorted(places), min(count, len(places)))
    return [chance.choice(sorted(places[place])) for place in chosen]


def faults(root: Path, file: str) -> Iterator[Mutant]:
    """All of a file, but for those in annotations, which nothing evaluates."""
    code = (root / file).read_text(encoding="utf-8")
    tree, unread = get_ast(code), _annotations(code)
    for name in cosmic_ray.plugins.operator_names():
        if name.endswith(NEED_ARGUMENTS):
            continue
        operator = _made(name)
        spans = (span for node in _nodes(tree) for span in operator.mutation_positions(node))
        for occurrence, span in enumerate(spans):
            if not any(start <= span[0] < end for start, end in unread):
                yield Mutant(file, span[0], name, occurrence)


def _made(name: str):
    return cosmic_ray.plugins.get_operator(name)()


def _nodes(node) -> Iterator:
    """In the order in which cosmic-ray counts."""
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def _annotations(code: str) -> list[tuple[Place, Place]]:
    """Where types are written: `from __future__ import annotations` leaves them text."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            found.append(node.annotation)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append(node.returns)
    return [
        ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0))
        for part in found
        if part is not None
    ]
