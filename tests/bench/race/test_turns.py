from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from wanattn.bench.race.turns import turns


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
