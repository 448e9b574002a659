"""Lists on a command line, separated by commas."""

from __future__ import annotations

import re


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
