"""Lists on a command line, separated by commas."""

from __future__ import annotations

import re
from collections.abc import Iterable


def words(text: str, what: str, example: str) -> list[str]:
    """Without repetitions. Raises ValueError for an empty word."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise ValueError(f"{what} '{text}', needs names separated by commas such as {example}")
    return list(dict.fromkeys(found))


def numbers(text: str, what: str, example: str) -> list[int]:
    found = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"\d+", word) for word in found):
        raise ValueError(f"{what} '{text}', needs numbers separated by commas such as {example}")
    return list(dict.fromkeys(map(int, found)))


def require_known(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError for the first backend that nobody has."""
    choices = list(dict.fromkeys(known))
    unknown = next((name for name in names if name not in choices), None)
    if unknown is not None:
        raise ValueError(f"unknown backend '{unknown}'; expected one of {', '.join(choices)}")
