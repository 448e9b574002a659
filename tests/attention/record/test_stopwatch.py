"""Events that stand for a device's: they come one after the other, and the test says how far the device is."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from wanattn.attention.record.stopwatch import Stopwatch

CPU = torch.device("cpu")


class Event:
    def __init__(self, at: float, device: SimpleNamespace) -> None:
        self.at, self._device = at, device

    def query(self) -> bool:
        return self.at <= self._device.now

    def synchronize(self) -> None:
        self._device.now = max(self._device.now, self.at)

    def elapsed_time(self, end: Event) -> float:
        return end.at - self.at


@pytest.fixture
def device():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def stopwatch(device):
    """Three calls of 1, 2 and 4 ms."""
    watch = Stopwatch()
    records = [SimpleNamespace(milliseconds=None) for _ in range(3)]
    for record, start, end in zip(records, (0, 1, 3), (1, 3, 7), strict=True):
        watch._waiting.append((record, (Event(start, device), Event(end, device)), 0))
    return watch, records


def times(records) -> list:
    return [record.milliseconds for record in records]


def test_only_what_the_device_has_passed_is_read(stopwatch, device):
    watch, records = stopwatch

    device.now = 2.0
    watch.settle()

    assert times(records) == [1.0, None, None]
    assert watch.waiting and device.now == 2.0  # nobody waited
    device.now = 7.0
    watch.settle()
    assert times(records) == [1.0, 2.0, 4.0] and not watch.waiting


def test_at_the_end_all_are_waited_for(stopwatch, device):
    watch, records = stopwatch

    watch.settle(wait=True)

    assert times(records) == [1.0, 2.0, 4.0] and device.now == 7.0


def test_events_that_were_read_are_used_again(stopwatch):
    watch, _ = stopwatch
    first = watch._waiting[0][1]

    watch.settle(wait=True)

    assert [watch._pair(0) for _ in range(3)][-1] is first


def test_a_cpu_is_timed_by_the_clock_and_other_devices_are_not():
    watch, record = Stopwatch(), SimpleNamespace(milliseconds=None)

    assert watch.start(torch.device("meta")) is None
    watch.stop(None, torch.device("meta"), record)
    assert record.milliseconds is None
    start = watch.start(CPU)
    time.sleep(0.01)
    watch.stop(start, CPU, record)
    assert 10 <= record.milliseconds < 1000 and not watch.waiting
