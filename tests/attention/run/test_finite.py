from __future__ import annotations

import sys
import threading

import pytest
import torch
from wanattn.attention.run.finite import SEATS, Guard, Suspect


@pytest.fixture(autouse=True, params=["read at once", "travelling"])
def sums(request, monkeypatch):
    """As on a processor, and as on a device that is not waited for."""
    if request.param == "travelling":
        monkeypatch.setattr("wanattn.attention.run.finite.AT_ONCE", ())


def guarded(guard: Guard, values, **where) -> None:
    suspect = Suspect("self", "int8", where.get("step"), where.get("block"))
    guard.watch(torch.tensor(values).reshape(1, 1, -1, 1), suspect)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_guard_names_step_and_block_of_an_output_that_is_not_finite(bad):
    guard = Guard()
    guarded(guard, [1.0, 2.0], step=3, block=0)
    guarded(guard, [1.0, bad], step=3, block=1)
    guarded(guard, [60000.0, -60000.0], step=3, block=2)
    guard.post()

    assert guard.read() == [Suspect("self", "int8", 3, 1)]
    assert guard.read() == []


def test_guard_works_in_and_out_of_inference_mode_and_past_its_seats(monkeypatch):
    monkeypatch.setattr("wanattn.attention.run.finite.SEATS", 2)
    guard = Guard()
    with torch.inference_mode():
        for block in range(3):
            guarded(guard, [torch.nan], block=block)
    guarded(guard, [torch.nan], block=3)
    guard.post()

    assert [suspect.block for suspect in guard.read()] == [0, 1, 2, 3]


def test_guard_loses_nothing_where_the_host_runs_devices_in_threads():
    guard, bad, each = Guard(), torch.full((1, 1, 2, 2), torch.nan), 400

    def work(number):
        for block in range(each):
            guard.watch(bad, Suspect(None, "rough", number, block))
            guard.post()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    found = {(suspect.step, suspect.block) for suspect in guard.read()}
    assert len(found) == 4 * each


def test_half_precision_sum_does_not_overflow():
    guard = Guard()
    guard.watch(torch.full((1, 1, 4096, 4), 60000.0, dtype=torch.float16), Suspect("", "", 0, 0))
    guard.post()

    assert guard.read() == []


def test_a_look_tells_only_of_what_came_since_the_last_one():
    """Past all seats too: a thousand calls and more are watched in a forward of some models."""
    guard = Guard()
    for forward in range(3):
        for block in range(SEATS // 2 + 10):
            guarded(guard, [torch.nan if block == forward else 1.0], step=forward, block=block)
        guard.post()

        assert [(s.step, s.block) for s in guard.read()] == [(forward, forward)]


@pytest.mark.parametrize(
    ("steps", "thorough", "dtype", "thin"),
    [
        ([0, 0, 1, 2], False, torch.float32, [False, False, True, True]),
        ([3, 4, 3], False, torch.bfloat16, [False, True, False]),
        ([None, 0, None, 1], False, torch.float32, [False, False, False, True]),
        ([0, 1, 2], True, torch.float32, [False, False, False]),
        ([0, 1, 2], False, torch.float16, [False, False, False]),
    ],
)
def test_a_thin_look_does_from_the_second_step_on(request, steps, thorough, dtype, thin):
    """The first one meets every weight; a float16 overflows channel by channel."""
    guard, bad = Guard(thorough=thorough), torch.full((1, 2, 3, 4), torch.nan, dtype=dtype)
    good = torch.zeros_like(bad)
    for step in steps:
        guard.watch(bad, Suspect("self", "int8", step, 0), (good, good, good), thin=True)
    guard.post()

    at_once = "read at once" in request.node.name
    assert [suspect.thin for suspect in guard.read()] == [each and not at_once for each in thin]
