"""The order of a round, so that no contestant always comes after the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def turns(items: Sequence[T], number: int) -> list[T]:
    """Each round begins with another one, and over the rounds each comes after every other one equally often.

    A Williams design: as many rounds as there are items, twice as many where those are odd in number.
    """
    count = len(items)
    zigzag = [(place + 1) // 2 * (1 if place % 2 else -1) for place in range(count)]
    order = [items[(step + number) % count] for step in zigzag]
    mirrored = count % 2 and number // count % 2
    return order[::-1] if mirrored else order


def rounds(racing: Callable[[int], Sequence[T]], most: int) -> Iterator[tuple[int, T]]:
    """The number of each round with each of its contestants, in turn.

    `racing(number)` gives those who take part in a round; nobody ends it all.
    """
    for number in range(most):
        contestants = racing(number)
        if not contestants:
            return
        for one in turns(contestants, number):
            yield number, one
