"""The progress of runs that are alike."""

import pytest
from wanattn.benchmarks.workflow.pace import Pace


class Bar:
    def __init__(self):
        self.units, self.lines = [], []

    def advance(self, units, what):
        self.units.append(units)
        self.lines.append(what)


def run(pace, steps, weight=10.0, **end):
    pace.begin(weight, "auto 81f 1/3")
    for number in range(steps):
        pace.step(number + 1, steps)
    pace.end(**end)


def test_first_run_counts_when_it_ends_and_later_ones_with_each_step():
    bar = Bar()
    pace = Pace(bar)
    run(pace, 4)
    assert bar.units == [0, 0, 0, 0, 0, 10.0]
    assert bar.lines[2] == "auto 81f 1/3 step 2/4"
    run(pace, 4)
    assert bar.units[6:] == [0, 2.5, 2.5, 2.5, 2.5, 0]


@pytest.mark.parametrize("steps", [0, 2, 9])
def test_run_with_other_steps_counts_as_much(steps):
    bar = Bar()
    pace = Pace(bar)
    run(pace, 4)
    run(pace, steps, weight=20.0)
    assert sum(bar.units) == pytest.approx(30.0)


def test_runs_left_out_count_as_done():
    bar = Bar()
    run(Pace(bar), 1, omitted=2)
    assert sum(bar.units) == 30.0
