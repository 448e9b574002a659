"""The order of a round, so that no contestant always comes after the same one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def turns(items: Sequence[T], number: int) -> list[T]:
    """Each round begins with another one."""
    start = number % len(items) if items else 0
    return [*items[start:], *items[:start]]
