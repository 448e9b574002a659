"""Records as plain values, and back again with a sentence for what is not one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TypeVar

from .row import Results, Row

COMPUTED = ("ms", "spread", "tflops", "share")
SHORTEST, LONGEST = 1e-6, 1e15  # no nanosecond was ever measured, nor so many of anything
MOST_LETTERS = 60  # of a value that is not what it should be
T = TypeVar("T", Row, Results)


def plain(row: Row) -> dict:
    """Every field and what is computed from them; values that JSON lacks become text."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(Row)}
    fields |= {name: _rounded(getattr(row, name)) for name in COMPUTED}
    return {name: finite(value) for name, value in fields.items()}


def finite(value):
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def record(kind: type[T], values: object) -> T:
    """From plain values; what is computed or unknown is left out. ValueError names the field."""
    known = {}
    given = _object(values)
    for field in dataclasses.fields(kind):
        if field.name in given:
            known[field.name] = _within(field.name, PARSERS[str(field.type)], given[field.name])
        elif field.default is field.default_factory:  # both missing
            raise ValueError(f"{field.name}: missing")
    return kind(**known)


def check_schema(given: object, known: int) -> None:
    if _whole(given) > known:
        raise ValueError(f"{given}, this wanattn knows up to {known}: update wanattn to read it")


def _within(place: str, parse: Callable, value):
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _wrong(value: object, needs: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"{shown[:MOST_LETTERS]}{'...' * (len(shown) > MOST_LETTERS)}, needs {needs}")


def _a(kind: type | tuple[type, ...], needs: str) -> Callable:
    def parse(value):
        if not isinstance(value, kind):
            raise _wrong(value, needs)
        return value

    return parse


_text, _object, _list = _a(str, "text"), _a(dict, "an object"), _a(list, "a list")


def _list_of(parse: Callable) -> Callable:
    return lambda value: [
        _within(f"number {n}", parse, each) for n, each in enumerate(_list(value), 1)
    ]


def _facts(value) -> dict:
    fact = _a((str, int, float, type(None)), "text or a number")
    return {name: _within(name, fact, given) for name, given in _object(value).items()}


def _float(value, needs: str) -> float:
    try:
        if not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise _wrong(value, needs)


def _whole(value) -> int:
    number = _float(value, "a whole number")
    if not abs(number) <= LONGEST or number % 1:
        raise _wrong(value, "a whole number")
    return int(value)


def _count(value) -> int:
    if (number := _whole(value)) < 0:
        raise _wrong(value, "a whole number from 0 on")
    return number


def _error(value) -> float:
    """Infinite for an output that is not finite."""
    if not (number := _float(value, "a number")) >= 0:
        raise _wrong(value, "a number from 0 on")
    return number


def _amount(value) -> float:
    if not 0 <= (number := _float(value, "a number")) <= LONGEST:
        raise _wrong(value, "a number from 0 on")
    return number


def _times(value) -> list[float]:
    """A list, or the numbers of one cell with spaces between them."""
    given = value.split() if isinstance(value, str) else value
    times = [_float(time, "a number") for time in _a(list, "a list of milliseconds")(given)]
    for time in times:
        if not SHORTEST <= time <= LONGEST:
            raise _wrong(time, "milliseconds above 0")
    return times


def _or_none(parse: Callable) -> Callable:
    return lambda value: None if value is None or value == "" else parse(value)


# By the annotations of Row and Results.
PARSERS: dict[str, Callable] = {
    "str": _text,
    "bool": _a(bool, "true or false"),
    "int": _count,
    "int | None": _or_none(_count),
    "float | None": _or_none(_amount),
    "Error | None": _or_none(_error),
    "list[float]": _times,
    "list[str]": _list_of(_text),
    "list[dict]": _list_of(_object),
    "list[Row]": _list_of(lambda values: record(Row, values)),
    "dict[str, str | int | float | None]": _facts,
}
