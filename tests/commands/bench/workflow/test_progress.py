"""The progress of runs that are alike."""

import pytest
from wanattn.commands.bench.workflow.progress import RunProgress


class Bar:
    def __init__(self):
        self.units, self.lines = [], []

    def advance(self, units, what):
        self.units.append(units)
        self.lines.append(what)


def run(shown, steps, weight=10.0, samplers=1, **end):
    """Every sampler with as many steps."""
    shown.begin(weight, "auto 81f 1/3", samplers)
    for _ in range(samplers):
        for number in range(steps):
            shown.step(number + 1, steps)
    shown.end(**end)


def test_first_run_moves_by_the_steps_of_its_samplers():
    bar = Bar()
    run(RunProgress(bar), 2, samplers=2)
    assert bar.units == [0, 2.5, 2.5, 2.5, 2.5, 0]
    assert bar.lines[2] == "auto 81f 1/3 step 2/2"


def test_later_runs_have_the_steps_of_the_one_before():
    bar = Bar()
    shown = RunProgress(bar)
    run(shown, 5, samplers=2)
    shown.begin(10.0, "auto 81f 2/3", 1)
    shown.step(1, 5)
    assert bar.units[-1] == 1.0


def test_first_run_with_more_steps_than_it_seemed_counts_as_much():
    bar = Bar()
    shown = RunProgress(bar)
    shown.begin(10.0, "auto 81f 1/3", 1)
    for steps in (4, 2, 0):  # a sampler, then what a decoder does, then what has no number of steps
        for number in range(steps or 1):
            shown.step(number + 1, steps)
    shown.end()
    assert sum(bar.units) == pytest.approx(10.0) and min(bar.units) == 0


@pytest.mark.parametrize("steps", [0, 2, 9])
def test_run_with_other_steps_counts_as_much(steps):
    bar = Bar()
    shown = RunProgress(bar)
    run(shown, 4)
    run(shown, steps, weight=20.0)
    assert sum(bar.units) == pytest.approx(30.0)


def test_runs_left_out_count_as_done():
    bar = Bar()
    run(RunProgress(bar), 1, omitted=2)
    assert sum(bar.units) == 30.0
