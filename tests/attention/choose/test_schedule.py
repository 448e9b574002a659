"""Exact first and last steps, approximate between."""

import pytest
from wanattn.attention.choose.rules import Rulings
from wanattn.attention.choose.schedule import schedule


def backends(steps: int, first: float, last: float, role: str = "self", asked: str = "self"):
    rulings = Rulings(schedule(role, "flash", "sage", first, last), 1, steps)
    found = [rulings.of(asked, step, 0) for step in range(steps)]
    return [rule and rule.backend for rule in found]


@pytest.mark.parametrize(
    ("steps", "first", "last", "exact"),
    [
        (10, 20, 10, {0, 1, 9}),
        (20, 10, 5, {0, 1, 19}),
        (4, 20, 10, {0, 3}),  # a quarter is covered in part, so it is exact
        (10, 0, 10, {9}),
        (100, 0, 10, set(range(90, 100))),
        (10, 25, 0, {0, 1, 2}),
        (10, 0, 0, set()),
        (10, 60, 40, set(range(10))),
        (10, 100, 100, set(range(10))),
        (1, 20, 10, {0}),
        (3, 33.3333, 0, {0}),
    ],
)
def test_the_ends_are_exact_and_the_middle_is_not(steps, first, last, exact):
    expected = ["flash" if step in exact else "sage" for step in range(steps)]

    assert backends(steps, first, last) == expected


def test_other_roles_are_left_to_the_backend_node():
    assert backends(4, 25, 25, "self", "text") == [None] * 4
    assert backends(4, 25, 25, "any", "text") == ["flash", "sage", "sage", "flash"]


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (0, 101), (float("nan"), 0)])
def test_a_share_that_is_none_is_refused(first, last):
    with pytest.raises(ValueError, match="needs 0 to 100"):
        schedule("self", "flash", "sage", first, last)
