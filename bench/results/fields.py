"""The fields of a row as plain values, and back again with a sentence for what is not one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from .row import Row

COMPUTED = ("ms", "spread", "tflops", "share")


def plain(row: Row) -> dict:
    """Every field and what is computed from them; values that JSON lacks become text."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(Row)}
    fields |= {name: _rounded(getattr(row, name)) for name in COMPUTED}
    return {name: finite(value) for name, value in fields.items()}


def finite(value):
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def row_of(values: Mapping[str, object]) -> Row:
    """From plain values; what is computed or unknown is left out. ValueError names the field."""
    known = {}
    for field in dataclasses.fields(Row):
        if field.name in values:
            try:
                known[field.name] = PARSERS[str(field.type)](values[field.name])
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{field.name}: {error}") from error
        elif field.name in ("benchmark", "backend", "part"):
            raise ValueError(f"{field.name}: missing")
    return Row(**known)


SHORTEST, LONGEST = 1e-6, 1e15  # no nanosecond was ever measured, nor so many of anything


def _text(value) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r}, needs text")
    return value


def _whole(value) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and value % 1):
            raise ValueError
        if abs(whole := int(value)) > LONGEST:
            raise ValueError
        return whole
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{value!r}, needs a whole number") from None


def _number(value) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{value!r}, needs a number") from None


def _times(value) -> list[float]:
    """A list, or the numbers of one cell with spaces between them."""
    given = value.split() if isinstance(value, str) else value
    if not isinstance(given, list):
        raise ValueError(f"{value!r}, needs a list of milliseconds")
    times = [_number(time) for time in given]
    for time in times:
        if not SHORTEST <= time <= LONGEST:
            raise ValueError(f"{time!r}, needs milliseconds above 0")
    return times


def _or_none(parse: Callable) -> Callable:
    return lambda value: None if value is None or value == "" else parse(value)


# By the annotations of Row.
PARSERS: dict[str, Callable] = {
    "str": _text,
    "int": _whole,
    "int | None": _or_none(_whole),
    "float | None": _or_none(_number),
    "list[float]": _times,
}
