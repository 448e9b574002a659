"""Timings that ranks share: two of them in one process, with the store of a process group between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
import torch.distributed as dist
from wanattn.attention.choose.measure.timings import Timing
from wanattn.nodes.raylight import shared
from wanattn.nodes.raylight.shared import Board, SharedTimings

FOUND = {"flash": Timing(255.0, 255.0)}


@dataclass
class Waiting:
    """A store of which one waits otherwise."""

    store: object
    wait: Callable

    def __getattr__(self, name):
        return getattr(self.store, name)


@pytest.fixture
def store():
    if not hasattr(dist, "HashStore"):
        pytest.skip("this torch has no store within a process, as on Windows")
    return dist.HashStore()


@pytest.fixture
def ranks(store):
    return [SharedTimings(None, "card", Board(store, "run")) for _ in range(2)]


def test_whoever_asks_first_measures_and_the_other_is_given_what_it_found(ranks, make_call):
    first, other = ranks
    call = make_call()

    assert first.claim(call) == {}
    first.write(call, FOUND)

    assert other.claim(call) == first.read(call) == FOUND


def test_a_rank_that_is_told_nothing_in_time_measures_itself(ranks, make_call, monkeypatch):
    monkeypatch.setattr(shared, "PATIENCE", timedelta(milliseconds=20))
    first, other = ranks

    assert first.claim(make_call()) == other.claim(make_call()) == {}


def test_a_rank_asks_once_for_a_call(ranks, make_call, monkeypatch):
    monkeypatch.setattr(shared, "PATIENCE", timedelta(milliseconds=20))
    first, other = ranks
    first.claim(make_call())
    other.claim(make_call())
    first.write(make_call(), FOUND)

    assert other.claim(make_call()) == {}  # it measures by now, or has found nothing


def test_what_a_rank_knows_already_it_asks_nobody_for(store, make_call):
    knowing, other = (SharedTimings(None, "card", Board(store, "run")) for _ in range(2))
    knowing.write(make_call(), FOUND)

    assert knowing.claim(make_call()) == FOUND
    assert store.num_keys() == 1  # what it told
    assert other.claim(make_call()) == {}  # so that this one is the first to ask


def test_a_rank_waits_for_half_of_what_raylight_gives_an_exchange(ranks, make_call, monkeypatch):
    waited = []

    def wait(keys, timeout):
        waited.append(timeout)
        raise dist.DistStoreError("wait timeout")

    first, other = ranks
    monkeypatch.setattr(other._shared, "_store", Waiting(other._shared._store, wait))
    first.claim(make_call())

    assert other.claim(make_call()) == {}
    assert [2 * timeout for timeout in waited] == [timedelta(minutes=1)]


def test_runs_and_kinds_of_card_are_kept_apart(make_call, store):
    makers = [("card", "run"), ("card", "next run"), ("other card", "run")]
    ranks = [SharedTimings(None, machine, Board(store, run)) for machine, run in makers]

    for rank in ranks:
        assert rank.claim(make_call()) == {}  # each is the first of its own


def test_no_group_has_no_board():
    assert shared.board("run") is None


def test_a_group_has_a_board_in_its_store(store):
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        board = shared.board("run")
        assert board is not None
        assert (board.first("key"), board.first("key")) == (True, False)
        board.tell("key", "known")
        assert board.told("key") == "known"
    finally:
        dist.destroy_process_group()
