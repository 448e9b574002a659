"""The sums of a report: what stays exact in a run of any length, and what is thinned out."""

from __future__ import annotations

import statistics

import pytest
from wanattn.attention.record import ledger
from wanattn.attention.record.ledger import Cells, Ledger, Row, Tally
from wanattn.attention.record.record import Record


@pytest.fixture
def record(make_call):
    def make(step=0, block=0, role="self", active="flash", reason="", milliseconds=1.0, **facts):
        facts |= {"step": step, "block": block, "milliseconds": milliseconds}
        return Record(make_call(role=role), "auto", active, "forced", reason, **facts)

    return make


def row_of(one: Record) -> Row:
    return Row(one.call, one.requested, one.active, one.via)


def test_a_median_stays_through_any_number_of_calls_and_the_sum_is_exact():
    tally = Tally()
    for number in range(10 * ledger.TIMES_KEPT):
        tally.time(float((number * 7919) % 1000))

    exact = [float((number * 7919) % 1000) for number in range(10 * ledger.TIMES_KEPT)]
    assert tally.milliseconds == sum(exact)
    assert ledger.TIMES_KEPT / 2 < len(tally.times) <= 2 * ledger.TIMES_KEPT
    assert statistics.median(tally.times) == pytest.approx(statistics.median(exact), rel=0.1)


def test_early_calls_stay_in_the_sample_of_a_long_run():
    tally = Tally()
    for number in range(3 * ledger.TIMES_KEPT):
        tally.time(float(number))

    assert min(tally.times) < ledger.TIMES_KEPT / 10


def test_a_copy_is_of_its_own(record):
    tally = Tally()
    tally.add(record(reason="first"))
    tally.time(2.0)

    copy = tally.copy()
    tally.add(record(reason="second"))
    tally.time(3.0)

    assert (copy.calls, copy.times, copy.reasons) == (1, [2.0], {"first"})
    assert (tally.calls, tally.reasons) == (2, {"first", "second"})


def test_a_call_that_fell_back_is_not_hidden_by_one_that_did_not(record):
    cells = Cells()
    calls = [record(), record(reason="first"), record(), record(reason="second"), record()]
    shown = []
    for one in calls:
        cells.add(row_of(one), one)
        shown.append(cells.roles["self"][0, 0][1].reason)

    assert shown == ["", "first", "first", "second", "second"]


def test_of_two_that_went_as_asked_the_later_is_shown(record):
    cells, later = Cells(), record(milliseconds=7.0)
    for one in (record(), later):
        cells.add(row_of(one), one)

    assert cells.roles["self"][0, 0][1] is later


@pytest.mark.parametrize("facts", [{"step": None}, {"block": None}, {"block": ledger.MOST_BLOCKS}])
def test_a_call_without_a_place_has_no_cell(record, facts):
    cells, one = Cells(), record(**facts)

    cells.add(row_of(one), one)

    assert cells.roles == {}


def test_a_picture_of_many_steps_has_lines_of_several(record, monkeypatch):
    """Four blocks, and room for eight lines of them."""
    monkeypatch.setattr(ledger, "MOST_CELLS", 32)
    cells, strides = Cells(), []
    for step in range(20):
        for block in range(4):
            one = record(step, block, reason="fell back" if (step, block) == (5, 2) else "")
            cells.add(row_of(one), one)
        strides.append(cells.stride)

    assert strides == [1] * 8 + [2] * 8 + [4] * 4
    place = cells.roles["self"]
    assert sorted(place) == [(line, block) for line in range(5) for block in range(4)]
    assert {where for where, (_, one) in place.items() if one.reason} == {(1, 2)}
    assert place[0, 0][1].step == 3  # the last of those that the line stands for


def test_a_second_role_takes_its_share_of_the_cells(record, monkeypatch):
    monkeypatch.setattr(ledger, "MOST_CELLS", 32)
    cells = Cells()
    for step in range(5):
        for role in ("self", "text"):
            one = record(step, 3, role)
            cells.add(row_of(one), one)

    assert cells.stride == 2 and sorted(cells.roles) == ["self", "text"]


def test_times_that_come_late_are_added_when_they_are_there(record):
    book, late, never = Ledger(), record(milliseconds=None), record(1, milliseconds=None)
    book.enter([(1, record(milliseconds=1.0)), (1, late), (1, never)], waiting=True)
    (tally,) = book.rows.values()
    assert (tally.calls, tally.milliseconds, book.entered) == (3, 1.0, 3)

    late.milliseconds = 2.0
    book.enter([], waiting=True)
    assert sorted(tally.times) == [1.0, 2.0]
    book.enter([], waiting=False)
    never.milliseconds = 4.0
    book.enter([], waiting=True)

    assert (tally.calls, tally.milliseconds) == (3, 3.0)  # nobody waited for it any longer


def test_a_new_run_begins_a_new_picture_and_goes_on_with_the_sums(record):
    book = Ledger()
    book.enter([(1, record(0)), (1, record(1))], waiting=False)
    book.enter([(2, record(0))], waiting=False)

    assert book.cells.run == 2 and sorted(book.cells.roles["self"]) == [(0, 0)]
    assert [tally.calls for tally in book.rows.values()] == [3]


def test_the_rows_that_are_kept_are_those_that_took_the_most_time_then_calls(record):
    book = Ledger()
    times = {"a": [1.0], "b": [5.0, 5.0], "c": [None] * 9, "d": [None] * 2, "e": [0.5, 0.5, 0.5]}
    for name, milliseconds in times.items():
        for one in milliseconds:
            book.enter([(1, record(active=name, milliseconds=one))], waiting=False)

    kept = {most: [row.active for row in book.copied(most)] for most in (1, 3, 4, 5, 9, None)}

    assert kept == {
        1: ["b"],
        3: ["b", "e", "a"],
        4: ["b", "e", "a", "c"],
        5: list("abcde"),
        9: list("abcde"),
        None: list("abcde"),
    }
