"""Who is timed how often and how long, on a clock that gives each backend the milliseconds that the test names."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import Backend
from wanattn.attention.call import Call, Inputs
from wanattn.attention.choose.measure import matmul, tuner
from wanattn.attention.choose.measure.tuner import Measurement, describe, tune

LONG = 1e6  # milliseconds of a forward, enough for whatever the tuner would like to do


class Clock:
    """In the place of the one that looks; `lengths` are the calls of each measurement, by backend."""

    def __init__(self) -> None:
        self.lengths: dict[str, list[int]] = {}
        self.spent = 0.0  # milliseconds of all calls but the first ones
        self.now = 0.0  # seconds that the host has taken to queue calls
        self._times: dict[str, itertools.chain] = {}
        self._running = ""

    def backend(self, name: str, *times: float, out: torch.Tensor, host: float = 1e-6) -> Backend:
        """It takes these milliseconds in its measurements, the last of them in all that follow."""
        self._times[name] = itertools.chain(times[:-1], itertools.repeat(times[-1]))
        self.lengths[name] = []

        def run(*inputs):
            self._running = name
            self.now += host
            return out

        return Backend(name, name, lambda call, environment: [], run, {torch.float32: 1e-3})

    def __call__(self, run, times, ahead=None) -> float:
        for _ in range(times):
            run()
        lengths, milliseconds = self.lengths[self._running], next(self._times[self._running])
        self.spent += times * milliseconds * bool(lengths)
        lengths.append(times)
        return milliseconds


class BusyClock(Clock):
    """As on a GPU, where products run ahead of each measurement."""

    busy = True
    rate = 0.0

    def __call__(self, run, times, ahead=0.0) -> float:
        self.spent += ahead
        return super().__call__(run, times)


@pytest.fixture
def case(tensors):
    q, k, v = tensors()
    return Call.of(q, k, v, None, "self"), Inputs(q, k, v)


@pytest.fixture
def out(case):
    return F.scaled_dot_product_attention(*case[1][:3])


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (tuner, matmul):
        monkeypatch.setattr(module, "timer_for", lambda device: clock)
    return clock


@pytest.fixture
def busy(monkeypatch):
    clock = BusyClock()
    monkeypatch.setattr(tuner, "BusyTimer", lambda device, dtype: clock)
    monkeypatch.setattr(tuner, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.mark.parametrize(
    ("slower", "rounds"), [(1.02, 15), (1.04, 5), (1.14, 5), (1.16, 1), (1.49, 1), (1.51, 0)]
)
def test_the_closer_two_are_the_more_rounds_decide_between_them(case, out, clock, slower, rounds):
    first, second = clock.backend("a", 1.0, out=out), clock.backend("b", slower, out=out)

    found = tune(case[0], [first, second], case[1], LONG)

    assert [(one.backend, one.milliseconds) for one in found] == [("a", 1.0), ("b", slower)]
    looks = [1, 1, 2]  # the first call, a look, and another one of 2 ms
    assert clock.lengths == {"a": looks + [20] * rounds, "b": looks + [20] * rounds}


def test_three_that_are_tied_share_all_rounds_and_what_is_slow_has_none(case, out, clock):
    times = {"a": 1.0, "b": 1.01, "c": 1.02, "slow": 3.0}
    backends = [clock.backend(name, time, out=out) for name, time in times.items()]

    tune(case[0], backends, case[1], LONG)

    assert [len(lengths) - 3 for lengths in clock.lengths.values()] == [15, 15, 15, 0]


def test_what_an_idle_device_gave_is_forgotten_in_the_first_round(case, out, clock):
    idle = clock.backend("idle", 5.0, 0.9, 0.9, 1.0, out=out)
    other = clock.backend("other", 1.3, out=out)

    found = tune(case[0], [idle, other], case[1], LONG)

    assert (found[0].milliseconds, found[1].milliseconds) == (1.0, 1.3)


def test_one_disturbed_measurement_of_two_is_not_believed_and_of_many_makes_no_difference(
    case, out, clock
):
    twice = clock.backend("twice", 9.0, 8.0, 2.0, out=out)
    often = clock.backend("often", 9.0, 1.0, 1.0, 1.0, 7.0, 1.0, 1.0, 1.0, out=out)
    beside = clock.backend("beside", 1.1, out=out)

    found = tune(case[0], [twice, often, beside], case[1], LONG)

    assert {one.backend: one.milliseconds for one in found} == {
        "often": 1.0,
        "beside": 1.1,
        "twice": 2.0,
    }


@pytest.mark.parametrize(
    ("milliseconds", "lengths"),
    [(50.0, [1, 1]), (49.0, [1, 1, 1]), (1.5, [1, 1, 2]), (1e-4, [1, 1, 200]), (0.0, [1, 1, 200])],
)
def test_a_look_is_repeated_where_it_is_short_and_lasts_2_ms(
    case, out, clock, milliseconds, lengths
):
    tune(case[0], [clock.backend("one", milliseconds, out=out)], case[1], LONG)

    assert clock.lengths["one"] == lengths


@pytest.mark.parametrize(
    ("forward", "rounds"),
    [
        (43, [2, 2, 2, 2]),  # 9 ms are left, and another round would take 10
        (44, [2, 2, 2, 2, 2]),
        (200, [13, 11, 10, 8, 7]),  # longer measurements where there is time for them
    ],
)
def test_measurements_are_as_long_and_as_many_as_one_forward_allows(
    case, out, clock, forward, rounds
):
    backends = [clock.backend(name, 1.0, out=out) for name in ("a", "b")]

    tune(case[0], backends, case[1], forward)

    assert clock.lengths["a"] == clock.lengths["b"]
    assert clock.lengths["a"][3:8] == rounds
    assert clock.spent <= forward


def test_products_ahead_of_a_measurement_are_taken_from_the_time_too(case, out, busy):
    backends = [busy.backend(name, 1.0, out=out) for name in ("a", "b")]

    tune(case[0], backends, case[1], 43)

    assert [len(lengths) - 3 for lengths in busy.lengths.values()] == [3, 3]
    assert 30 < busy.spent <= 43


def test_no_more_calls_than_the_host_can_queue_while_the_products_run(case, out, busy):
    slow = busy.backend("slow to queue", 0.1, out=out, host=1.5e-3)
    quick = busy.backend("quick", 0.1, out=out)

    tune(case[0], [slow, quick], case[1], 20)

    assert busy.lengths["slow to queue"][2] == 1  # 2 ms of products, and 1.5 ms to queue a call
    assert busy.lengths["quick"][2] == 20


def test_the_time_of_a_forward_ends_what_is_not_begun(case, out, clock):
    """Three calls of 20 ms each: the first one is not counted, and two are all that a forward of 60 ms can spare."""
    backends = [clock.backend(name, 20.0, out=out) for name in ("a", "b", "c")]

    found = tune(case[0], backends, case[1], 60)

    assert [one.backend for one in found if one.usable] == ["a", "b"]
    assert found[2] == Measurement("c")


def test_a_forward_is_thirty_calls_and_what_stands_beside_them_at_half_their_time(make_call):
    """Per call of self-attention, 4 N^2 W of its own, text attention 4 N 512 W, linear layers 22 N W^2."""
    own = make_call(heads=40, q_len=32760, kv_len=32760)
    text = make_call(role="text", heads=40, q_len=32760, kv_len=512)
    linear = 22 * 5120 / 4

    assert tuner._budget(own, 10.0, 0) == pytest.approx(300 * (1 + linear / 32760 / 2))
    assert tuner._budget(text, 10.0, 0) == pytest.approx(300 * (1 + (32760 + linear) / 1024))
    few = make_call(role="other", heads=40, q_len=512, kv_len=32760)
    assert tuner._budget(few, 10.0, 0) == pytest.approx(300 * (1 + (512 + linear) / 65520))
    both = make_call(batch=2, heads=40, q_len=32760, kv_len=32760)
    assert tuner._budget(both, 10.0, 0) == pytest.approx(tuner._budget(own, 10.0, 0))


def test_where_matrix_products_were_timed_the_rest_of_a_forward_runs_at_their_rate(make_call):
    """5B at 720x1280x25 on an H100: fa3 takes 0.71 ms, and six first looks 44 of the 50 that were allowed before."""
    own = make_call(heads=24, q_len=6440, kv_len=6440)
    linear = 22 * (24 * 128) ** 2 * 6440

    assert tuner._budget(own, 0.71, linear / 2.0) == pytest.approx(30 * (0.71 + 2.0))
    twice = make_call(batch=2, heads=24, q_len=6440, kv_len=6440)
    assert tuner._budget(twice, 0.71, linear / 2.0) == pytest.approx(30 * (0.71 + 4.0))
    assert tuner._budget(own, 0.71, 0) == tuner.LEAST_BUDGET


def test_six_kernels_that_are_looked_at_leave_time_for_rounds_between_the_closest(
    make_call, out, busy, tensors
):
    """As measured there, but for a disturbed first look at the fastest."""
    times = {"fastflash": 1.26, "xformers": 1.47, "cudnn": 0.86, "flash": 1.49, "efficient": 3.0}
    disturbed = busy.backend("fa3", 1.1, 1.1, 1.1, 0.71, out=out)
    backends = [busy.backend(name, time, out=out) for name, time in times.items()]
    busy.rate = 22 * (24 * 128) ** 2 * 6440 / 2.06

    call = make_call(heads=24, q_len=6440, kv_len=6440)
    found = tune(call, [disturbed, *backends], Inputs(*tensors()))

    assert found[0].backend == "fa3"
    assert busy.spent <= 30 * (0.71 + 2.06)


@pytest.mark.parametrize(
    ("first", "milliseconds", "told"),
    [
        (740.2, 240.2, "240 ms"),
        (740.3, 240.2, "240 ms (first call 0.7 s)"),
        (100.0, 99.94, "99.9 ms"),
        (100.2, 100.2, "100 ms"),
        (9.0, 0.12345, "0.123 ms"),
    ],
)
def test_times_have_three_figures_and_a_long_first_call_is_told(
    make_call, first, milliseconds, told
):
    text = describe(make_call(), [Measurement("flash", milliseconds, first, 0.0)])

    assert text.endswith(f": flash {told}")
