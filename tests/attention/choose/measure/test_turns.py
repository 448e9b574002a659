from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from wanattn.attention.choose.measure.turns import rounds, turns


def test_two_take_turns():
    assert [turns(["a", "b"], number) for number in range(3)] == [
        ["a", "b"],
        ["b", "a"],
        ["a", "b"],
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9])
def test_each_comes_first_and_after_every_other_one_equally_often(count):
    names = list(range(count))
    rounds = count if count % 2 == 0 else 2 * count
    orders = [turns(names, number) for number in range(rounds)]

    assert all(sorted(order) == names for order in orders)
    assert {order[0] for order in orders[:count]} == set(names)
    follows = Counter(pair for order in orders for pair in pairwise(order))
    assert set(follows.values()) <= {1 if count % 2 == 0 else 2}
    assert len(follows) == count * (count - 1)


def test_nobody_takes_no_turn():
    assert turns([], 4) == []


def test_rounds_go_on_without_those_who_left_until_nobody_is_there():
    racing = ["a", "b", "c"]
    seen = []
    for number, name in rounds(lambda number: racing[:] if number < 3 else [], 9):
        seen.append(f"{name}{number}")
        if name == "b":
            racing.remove(name)

    assert seen == ["a0", "b0", "c0", "c1", "a1", "a2", "c2"]


def test_rounds_are_so_many_at_most():
    assert [number for number, _ in rounds(lambda number: "ab", 2)] == [0, 0, 1, 1]
