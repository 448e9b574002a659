from __future__ import annotations

import json
import math
import random

import pytest
from wanattn.bench.results import compare
from wanattn.bench.results.row import Results, Row
from wanattn.tests.bench.made import results, row


@pytest.mark.parametrize(
    ("old", "new", "spread", "verdict", "words", "interval"),
    [
        (407.0, 246.0, 0.004, "faster", "1.65x faster", "1.64 to 1.67"),
        (246.0, 407.0, 0.004, "slower", "1.65x slower", "1.64 to 1.67"),
        (100.0, 96.0, 0.05, "same", "same within 14 %", "0.95 to 1.14"),
        (100.0, 96.0, 0.02, "faster", "1.04x faster", "1.01 to 1.08"),
        (100.0, 100.5, 0.012, "same", "same within 2.7 %", "0.97 to 1.02"),
        (100.0, 100.5, 0.001, "same", "same within 0.7 %", "0.99 to 1.00"),
        (123.0, 123.0, 0.021, "same", "same within 3.8 %", "0.96 to 1.04"),
        (123.0, 123.0, 0.0, "same", "same within 0.0 %", "1.00 to 1.00"),
    ],
)
def test_a_verdict_is_always_there_and_needs_more_than_the_noise(
    old, new, spread, verdict, words, interval
):
    pair = compare.judge(row(ms=old, spread=spread), row(ms=new, spread=spread))

    assert (pair.verdict, pair.words, pair.interval) == (verdict, words, interval)
    assert pair.ratio == pytest.approx(old / new)
    assert pair.low <= pair.ratio <= pair.high


@pytest.mark.parametrize("seed", range(20))
def test_the_smallest_share_that_holds_is_told(seed):
    generator = random.Random(seed)
    pair = compare.judge(*(drawn(generator, 4, 100.0, 0.02) for _ in range(2)))

    assert pair.verdict == "same"
    assert max(pair.high, 1 / pair.low) == pytest.approx(1 + pair.within)
    told = float(pair.words.split()[-2]) / 100
    assert pair.within <= told < pair.within + 0.002


def test_it_is_the_same_answer_every_time_and_from_either_side():
    one, other = row(ms=100.0, spread=0.01), row(ms=110.0, spread=0.02)

    there, back = compare.judge(one, other), compare.judge(other, one)

    compare._sides.cache_clear()
    assert compare.judge(one, other) == there
    assert (there.verdict, back.verdict) == ("slower", "faster")
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert back.low == pytest.approx(1 / there.high, rel=0.01)


def test_a_real_difference_too_small_to_matter_is_none():
    pair = compare.judge(row(ms=100.9, spread=1e-4), row(ms=100.0, spread=1e-4))

    assert pair.low > 1 and pair.words == "same within 1.0 %"


def test_the_larger_spread_of_the_two_decides():
    steady, shaky = row(ms=100.0, spread=0.001), row(ms=80.0, spread=0.4)

    assert compare.judge(steady, shaky).within > 0.5
    assert compare.judge(shaky, steady).within > 0.5


def twice(first: float, second: float, **facts) -> Row:
    return row(**facts, times=[first, second])


def test_two_times_prove_a_difference_of_a_few_times_their_spread():
    assert compare.judge(twice(100, 101), twice(97.2, 98.2)).verdict == "same"
    assert compare.judge(twice(100, 101), twice(94, 95)).verdict == "faster"


def drawn(generator, rounds: int, mean: float, noise: float) -> Row:
    return row(times=[mean * (1 + noise * generator.gauss(0, 1)) for _ in range(rounds)])


def judged(rounds: int, first: float, noise: float, trials=400) -> list[compare.Pair]:
    """Pairs of rows of so many times, of which the first takes `first` and the second 100."""
    generator = random.Random(rounds)
    return [
        compare.judge(*(drawn(generator, rounds, mean, noise) for mean in (first, 100.0)))
        for _ in range(trials)
    ]


def share(of) -> float:
    found = list(of)
    return sum(found) / len(found)


@pytest.mark.parametrize("rounds", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_equal_backends_are_told_apart_in_five_of_a_hundred_pairs_at_most(rounds, noise):
    pairs = judged(rounds, 100.0, noise)

    assert share(pair.verdict != "same" for pair in pairs) <= 0.05


@pytest.mark.parametrize("rounds", [2, 3, 5, 12])
def test_the_interval_holds_the_truth_in_95_of_a_hundred_pairs(rounds):
    assert share(p.low <= 1.2 <= p.high for p in judged(rounds, 120.0, 0.02)) >= 0.94


def test_more_rounds_tell_a_small_difference_more_often():
    found = [
        share(pair.verdict == "faster" for pair in judged(rounds, 103.0, 0.01))
        for rounds in (2, 3, 4, 8, 12, 20)
    ]

    assert found == sorted(found) and found[0] > 0.2 and found[-1] > 0.99


def run_of(generator, backends: int, rounds: int) -> Results:
    """One command on one day: the card is as fast as it is that day, and slows down a little meanwhile."""

    def times(day: float) -> list[float]:
        warm = generator.uniform(0, 0.02) / rounds
        return [100 * day * (1 + warm * n + 0.005 * generator.gauss(0, 1)) for n in range(rounds)]

    return results(
        *(row(f"b{n}", times=times(1 + 0.016 * generator.gauss(0, 1))) for n in range(backends))
    )


@pytest.mark.parametrize("rounds", [3, 5])
def test_two_runs_of_one_command_are_the_same_in_95_of_a_hundred_rows(rounds):
    """As on an idle H100: the rows of two of them agree to 2 % in two thirds and to 6 % in all."""
    generator = random.Random(rounds)
    old, new = (run_of(generator, 300, rounds) for _ in range(2))

    pairs = compare.verdicts(old, new).pairs

    assert 0.5 < share(max(pair.ratio, 1 / pair.ratio) < 1.02 for pair in pairs) < 0.8
    assert share(pair.verdict == "same" for pair in pairs) >= 0.95
    assert share(pair.within < 0.11 for pair in pairs) >= 0.95


def test_a_run_that_drifted_proves_less():
    steady = [100.0, 100.2, 100.1, 100.0, 100.2, 100.1]
    drifting = [100.0, 102.0, 104.0, 106.0, 108.0, 110.0]

    pairs = [
        compare.verdicts(results(row(times=old)), results(row(times=[94.0] * 6))).pairs[0]
        for old in (steady, drifting)
    ]

    assert compare.drift(steady) < 0.002 and compare.drift(drifting) == pytest.approx(0.059, 0.01)
    assert pairs[1].high / pairs[1].ratio > 1.02 * pairs[0].high / pairs[0].ratio


def test_times_that_overlap_differ_by_nothing():
    pair = compare.judge(twice(0.04, 4.0), twice(0.02, 0.06))

    assert pair.ratio > 50 and pair.verdict == "same" and pair.within > 50


def test_more_rounds_outweigh_a_few_that_were_disturbed():
    steady = [100.0, 100.2, 100.1] * 6
    old = row(times=[*steady, 500.0])
    new = row(times=[time * 0.95 for time in [90.0, *steady]])

    assert compare.judge(row(times=[500.0, 60.0, *steady[:3]]), new).verdict == "same"
    assert old.spread == pytest.approx(0.002, rel=0.01)
    assert compare.judge(old, new).verdict == "faster"


def test_one_time_gives_a_ratio_and_no_verdict():
    pair = compare.judge(row(ms=200.0, rounds=1), row(ms=100.0))

    assert (pair.ratio, pair.verdict, pair.words) == (2.0, "", "2.00x, measured once")
    assert pair.interval == ""


@pytest.mark.parametrize("odd", [math.inf, math.nan, 0.0, -1.0])
def test_a_time_that_is_none_gives_nothing(odd):
    assert compare.judge(row(times=[1.0, odd, 1.0]), row(ms=1.0)) is None
    assert compare.judge(row(ms=1.0), row(times=[odd, odd])) is None


def test_no_times_give_nothing():
    assert compare.judge(row(ms=200.0), row(reason="not installed")) is None


def test_two_runs_must_differ_by_more_than_two_runs_of_the_same_do():
    old, new = results(row(ms=100.0, spread=0.001)), results(row(ms=98.5, spread=0.001))

    assert compare.judge(old.rows[0], new.rows[0]).verdict == "faster"
    assert compare.verdicts(old, new).pairs[0].words == "same within 6.7 %"


def test_within_one_result_each_is_set_against_the_baseline_of_its_place():
    rows = [row("flash", 400.0), row("cudnn", 200.0)]
    rows += [
        row("flash", 3.0, part="text"),
        row("cudnn", 6.0, part="text"),
        row("fa3", 1.0, part="x"),
    ]
    found = results(*rows)

    pairs = [compare.within(found, each) for each in rows]

    assert [pair.words if pair else None for pair in pairs] == [
        None,
        "2.00x faster",
        None,
        "2.00x slower",
        None,
    ]


def test_rows_meet_where_place_and_backend_are_the_same():
    old = results(row("flash", 400.0), row("cudnn", 240.0), row("fa4", reason="not installed"))
    new = results(row("cudnn", 240.0, frames=25), row("cudnn", 120.0), row("fa4", 110.0))

    found = compare.verdicts(old, new)

    assert [(pair.old.backend, pair.new.backend, pair.ratio) for pair in found.pairs] == [
        ("cudnn", "cudnn", 2.0)
    ]
    assert [each.backend for each in found.only_old] == ["flash"]
    assert [(each.backend, each.frames) for each in found.only_new] == [("cudnn", 25), ("fa4", 81)]


def test_a_lone_old_backend_is_the_baseline_of_all_in_its_place():
    old = results(row("sub_quad", 900.0, settings="4step_81f_baseline"))
    new = results(row("flash", 450.0), row("cudnn", 300.0))

    pairs = compare.verdicts(old, new).pairs

    assert [(pair.old.backend, pair.new.backend, pair.ratio) for pair in pairs] == [
        ("sub_quad", "flash", 2.0),
        ("sub_quad", "cudnn", 3.0),
    ]


def test_of_several_old_rows_that_with_the_same_settings_counts():
    old = results(row("flash", 900.0, settings="a"), row("flash", 600.0, settings="b"))

    [pair] = compare.verdicts(old, results(row("flash", 300.0, settings="b"))).pairs

    assert pair.ratio == 2.0


def test_each_difference_of_the_machines_is_named_with_both_values():
    old = results(row(ms=1.0), **{"gpu": "RTX 5090", "torch": "2.10.0", "started": "before"})
    new = results(row(ms=1.0), comfyui="0.33.0", finished=False)
    del new.environment["fa3-fwd"]

    assert compare.verdicts(old, new).warnings == (
        "comfyui: none then, 0.33.0 now",
        "torch: 2.10.0 then, 2.11.0+cu130 now",
        "gpu: RTX 5090 then, NVIDIA H100 80GB HBM3 now",
        "fa3-fwd: 0.0.3 then, none now",
        "the new benchmark was stopped early",
    )


def test_the_same_machine_gives_no_warning():
    assert compare.verdicts(results(row(ms=1.0)), results(row(ms=1.0))).warnings == ()


def test_it_can_be_json():
    old, new = results(row("flash", 400.0)), results(row("flash", 200.0), row("fa3", 1.0, part="x"))

    data = json.loads(json.dumps(compare.plain(compare.verdicts(old, new))))

    [pair] = data["pairs"]
    assert (pair["ratio"], pair["verdict"], pair["part"]) == (2.0, "faster", "self")
    assert pair["low"] < 2.0 < pair["high"]
    assert data["only_new"] == ["fa3 x"]


@pytest.mark.parametrize(("count", "outside"), [(2, 0), (4, 0), (5, 1), (20, 1)])
def test_the_spread_leaves_out_one_at_either_end_of_five_and_more(count, outside):
    times = [1000.0 + number for number in range(count)]
    median = (times[0] + times[-1]) / 2

    assert row(times=times).spread == pytest.approx((count - 1 - 2 * outside) / median)
