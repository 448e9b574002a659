from __future__ import annotations

from wanattn.attention.bench.turns import turns


def test_rounds_interleave_and_begin_with_another():
    assert [turns(["a", "b"], number) for number in range(3)] == [
        ["a", "b"],
        ["b", "a"],
        ["a", "b"],
    ]
    assert {turns(["a", "b", "c"], number)[0] for number in range(3)} == {"a", "b", "c"}
    assert turns([], 4) == []
