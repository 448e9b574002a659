"""An old file with anything in it is refused in a sentence or compared; never what ends a benchmark that has measured."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from wanattn.bench.results import chart, compare, file, table, words
from wanattn.bench.results.row import Row
from wanattn.tests.bench.made import results, row

MOST_LETTERS = 500
FIELDS = [field.name for field in dataclasses.fields(Row)]
ABSURD = (
    math.inf,
    -math.inf,
    math.nan,
    -1,
    -0.0,
    0,
    5e-324,
    1e308,
    10**400,
    True,
    None,
    "inf",
    "nan",
    "-1",
    "x" * 5000,
    "\ud800\x00",
    [],
    [math.inf],
    [math.nan, 1.0],
    [1e-300, 1e300],
    [1.0] * 5000,
    {},
    {"a": []},
)


def endings(tmp_path, old: dict):
    """The sentence that refuses a file, else what the comparison with it says."""
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old), encoding="utf-8")
    try:
        before = file.read(path)
    except ValueError as error:
        return str(error)
    new = results(row(ms=250.0), row("math", 900.0))
    comparison = compare.verdicts(before, new)
    json.dumps(compare.plain(comparison), allow_nan=False)
    assert table.text(before) is not None
    return table.compared(comparison, path.name)


@pytest.mark.parametrize("name", FIELDS)
def test_any_value_in_any_field_of_a_row_is_refused_or_compared(tmp_path, name):
    plain = file.plain(results(row(ms=407.0, first=900.0, tuning=12.0), row("math", 800.0)))

    for absurd in ABSURD:
        changed = json.loads(json.dumps(plain))
        changed["rows"][0][name] = absurd
        said = endings(tmp_path, changed)
        assert all(len(line) <= 2 * MOST_LETTERS for line in said.splitlines() if "|" not in line)


@pytest.mark.parametrize("name", ["first", "tuning", "times", "flops", "rate", "peak_gib"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -1.0])
def test_no_number_that_is_none_gets_past_the_reading(tmp_path, name, value):
    plain = file.plain(results(row(ms=407.0)))
    plain["rows"][0][name] = [value] if name == "times" else value

    assert f"{name}: " in endings(tmp_path, plain)


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("error", math.nan, "error: nan, needs a number from 0 on"),
        ("error", -1.0, "error: -1.0, needs a number from 0 on"),
        ("frames", -81, "frames: -81, needs a whole number from 0 on"),
        ("heads", -1, "heads: -1, needs a whole number from 0 on"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, name, value, needs):
    plain = file.plain(results(row(ms=407.0)))
    plain["rows"][0][name] = value

    assert needs in endings(tmp_path, plain)


def test_an_output_that_is_not_finite_is_kept(tmp_path):
    plain = file.plain(results(row(ms=407.0, error=math.inf)))

    assert "flash" in endings(tmp_path, plain)


@pytest.mark.parametrize(
    "place", ["environment", "benchmark", "baseline", "notes", "schema", "rows"]
)
def test_any_value_in_any_field_of_a_file_is_refused_or_compared(tmp_path, place):
    plain = file.plain(results(row(ms=407.0)))

    for absurd in ABSURD:
        said = endings(tmp_path, {**plain, place: absurd})
        assert all(len(line) <= 2 * MOST_LETTERS for line in said.splitlines() if "|" not in line)


def test_long_facts_are_cut_to_what_people_read(tmp_path):
    plain = file.plain(results(row(ms=407.0), gpu="x" * 5000, **{"y" * 5000: 1}))

    said = endings(tmp_path, plain)

    assert max(map(len, said.splitlines())) <= MOST_LETTERS
    assert "gpu: xxx" in said and " ..." in said


def test_a_sentence_is_cut_at_its_length_and_no_earlier():
    assert words.brief("x" * 400) == "x" * 400
    assert words.brief("x" * 401) == "x" * 400 + " ..."
    assert words.brief("two\n lines") == "two lines"


def test_a_chart_of_absurd_results_is_refused_or_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib not installed")
    new = results(row(ms=1e-6), row("math", 1e15))

    chart.save(new, tmp_path / "chart.png")

    assert (tmp_path / "chart.png").stat().st_size > 1000
