from __future__ import annotations

import json
import random

import pytest
from wanattn.bench.results import compare
from wanattn.bench.results.row import Row
from wanattn.tests.bench.made import results, row


@pytest.mark.parametrize(
    ("old", "new", "spread", "verdict", "words"),
    [
        (407.0, 246.0, 0.004, "faster", "1.65x faster"),
        (246.0, 407.0, 0.004, "slower", "1.65x slower"),
        (100.0, 96.0, 0.05, "too noisy", "too noisy to tell"),
        (100.0, 96.0, 0.02, "faster", "1.04x faster"),
        (100.0, 100.5, 0.012, "same", "same"),
        (100.0, 100.5, 0.001, "same", "same"),
        (100.0, 100.5, 0.021, "too noisy", "too noisy to tell"),
    ],
)
def test_a_verdict_needs_more_than_the_spread(old, new, spread, verdict, words):
    pair = compare.judge(row(ms=old, spread=spread), row(ms=new, spread=spread))

    assert (pair.verdict, pair.words) == (verdict, words)
    assert pair.ratio == pytest.approx(old / new)


def test_the_larger_spread_of_the_two_decides():
    steady, shaky = row(ms=100.0, spread=0.001), row(ms=80.0, spread=0.4)

    assert compare.judge(steady, shaky).verdict == "too noisy"
    assert compare.judge(shaky, steady).verdict == "too noisy"


def twice(first: float, second: float, **facts) -> Row:
    return row(**facts, times=[first, second])


def test_two_times_prove_a_difference_of_three_times_their_spread():
    assert compare.judge(twice(100, 101), twice(97.2, 98.2)).verdict == "too noisy"
    assert compare.judge(twice(100, 101), twice(95, 96)).verdict == "faster"


def drawn(generator, rounds: int, mean: float, noise: float) -> Row:
    return row(times=[mean * (1 + noise * generator.gauss(0, 1)) for _ in range(rounds)])


def told_apart(rounds: int, second: float, noise: float, trials=1000) -> float:
    generator = random.Random(rounds)
    pairs = (
        compare.judge(*(drawn(generator, rounds, mean, noise) for mean in (100.0, second)))
        for _ in range(trials)
    )
    return sum(pair.verdict in ("faster", "slower") for pair in pairs) / trials


@pytest.mark.parametrize(
    ("rounds", "most"), [(2, 0.04), (3, 0.03), (4, 0.02), (5, 0.02), (9, 0.01)]
)
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_equal_backends_are_hardly_ever_told_apart(rounds, most, noise):
    assert told_apart(rounds, 100.0, noise) <= most


def test_more_rounds_tell_a_small_difference_more_often():
    found = [told_apart(rounds, 97.0, 0.01) for rounds in (2, 3, 5, 8, 12, 20)]

    assert found == sorted(found) and found[0] > 0.2 and found[-1] > 0.99


def test_times_that_overlap_differ_by_nothing():
    pair = compare.judge(twice(0.04, 4.0), twice(0.02, 0.06))

    assert pair.ratio > 50 and pair.verdict == "too noisy"


def test_more_rounds_outweigh_a_few_that_were_disturbed():
    steady = [100.0, 100.2, 100.1] * 6
    old = row(times=[*steady, 500.0])
    new = row(times=[time * 0.95 for time in [90.0, *steady]])

    assert compare.judge(row(times=[500.0, 60.0, *steady[:3]]), new).verdict == "too noisy"
    assert old.spread == pytest.approx(0.002, rel=0.01)
    assert compare.judge(old, new).verdict == "faster"


def test_one_time_gives_a_ratio_and_no_verdict():
    pair = compare.judge(row(ms=200.0, rounds=1), row(ms=100.0))

    assert (pair.ratio, pair.verdict, pair.words) == (2.0, "", "2.00x, measured once")


def test_no_times_give_nothing():
    assert compare.judge(row(ms=200.0), row(reason="not installed")) is None


def test_two_runs_must_differ_by_more_than_two_runs_of_the_same_do():
    old, new = results(row(ms=100.0, spread=0.001)), results(row(ms=98.5, spread=0.001))

    assert compare.verdicts(old, new).pairs[0].verdict == "same"


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
    assert data["only_new"] == ["fa3 x"]


@pytest.mark.parametrize(
    ("count", "outside"), [(2, 0), (6, 0), (8, 1), (9, 1), (12, 2), (20, 5), (2000, 955)]
)
def test_more_rounds_enclose_the_median_closer(count, outside):
    """From 9 on by the sign test, as tables of the interval of a median at 95 % give it."""
    ends = row(times=[float(number) for number in range(count)]).ends

    assert ends == (outside, count - 1 - outside)
