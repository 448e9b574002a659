from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import pytest
from wanattn.bench.results import file
from wanattn.tests.bench.made import results, row

ROW = {"benchmark": "kernels", "backend": "flash", "part": "self", "times": [1.0]}


@pytest.fixture
def found():
    """Every field in use, and what a spreadsheet or a separator could trip over."""
    first = row(
        "flash",
        407.123456789,
        settings="=HYPERLINK(1)",
        active='pack, "quoted" | \u65b0',
        first=1200.5,
        tuning=3.25,
        flops=10**15,
        rate=798.4,
        error=2.3e-3,
        peak_gib=2.5,
    )
    wrong = row("sage", 300.0, error=math.inf, reason="output not finite")
    absent = row("fa3", reason="'-quoted", heads=None, q_len=None, kv_len=None)
    found = results(first, wrong, absent, server="@home", size="a fact named as a column")
    found.notes += ["A note.", "+ another, with a comma"]
    found.environment["comment"] = "'=1+1"
    return found


@pytest.mark.parametrize("suffix", [".csv", ".json", ".CSV"])
def test_reading_gives_back_what_was_written(found, tmp_path, suffix):
    path = tmp_path / f"r\u00e9sultats{suffix}"

    file.write(found, path)

    assert file.read(path) == found
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_json_keeps_the_diagnostics_and_is_json_for_everyone(found, tmp_path):
    found.diagnostics.append({"schema": 1, "calls": 3})
    file.write(found, tmp_path / "a.json")

    text = (tmp_path / "a.json").read_text()
    data = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert (data["kind"], data["schema"]) == ("wanattn benchmark", 1)
    assert data["rows"][0]["tflops"] == pytest.approx(10**15 / 407.123456789 / 1e9, rel=1e-5)
    assert file.read(tmp_path / "a.json").diagnostics == found.diagnostics


def test_csv_has_one_line_a_row_and_no_cell_that_is_a_formula(found, tmp_path):
    file.write(found, tmp_path / "a.csv")

    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3
    cells = [cell for row in rows for cell in [*row, *row.values()]]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert rows[0]["settings"] == "'=HYPERLINK(1)"
    assert rows[2]["gpu"] == "NVIDIA H100 80GB HBM3"
    assert [float(time) for time in rows[0]["times"].split()] == found.rows[0].times
    assert float(rows[0]["ms"]) == pytest.approx(407.123)


@pytest.mark.parametrize("suffix", file.SUFFIXES)
def test_lines_end_alike_on_every_system(found, tmp_path, suffix):
    file.write(found, tmp_path / f"a{suffix}")

    assert b"\r" not in (tmp_path / f"a{suffix}").read_bytes()


def test_a_csv_saved_again_by_a_spreadsheet_is_read(found, tmp_path):
    file.write(found, tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")

    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    assert [row.times for row in file.read(tmp_path / "b.csv").rows] == [
        row.times for row in found.rows
    ]


def test_rows_and_columns_that_a_spreadsheet_left_empty_are_skipped(found, tmp_path):
    file.write(found, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as lines:
        rows = [[*line, "", ""] for line in csv.reader(lines)]
    with (tmp_path / "b.csv").open("w", newline="", encoding="utf-8") as target:
        csv.writer(target).writerows([*rows, [""] * len(rows[0])])

    read = file.read(tmp_path / "b.csv")

    assert [row.times for row in read.rows] == [row.times for row in found.rows]
    assert "" not in read.environment


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("times,", "tims,", "line 1 has no column times"),
        ("baseline,", "schema,", "line 1 has the column 'schema' twice"),
        (",832x1216,81,", ",832x1216,many,", "line 2, column frames: 'many', needs a whole number"),
        ("407.123456789 ", "fast ", "line 2, column times: 'fast', needs a number"),
        ("407.123456789 ", "nan ", "line 2, column times: nan, needs milliseconds above 0"),
        ("407.123456789 ", "0 ", "line 2, column times: 0.0, needs milliseconds above 0"),
        ("407.123456789 ", "5e-324 ", "line 2, column times: 5e-324, needs milliseconds above 0"),
        ("407.123456789 ", "1e308 ", "line 2, column times: 1e+308, needs milliseconds above 0"),
        (",832x1216,81,", f",832x1216,{9**400},", "needs a whole number"),
        (",1200.5,", ",inf,", "line 2, column first: 'inf', needs a number from 0 on"),
        (",flash,yes,", ",flash,yes,more,", "line 2 has 37 cells, needs 36"),
        (",1,flash,", ",2,flash,", "schema 2, this wanattn knows up to 1: update wanattn"),
        (",1,flash,", ",one,flash,", "line 2: schema 'one', needs a whole number"),
    ],
)
def test_a_damaged_csv_is_a_sentence(tmp_path, old, new, sentence):
    path = tmp_path / "a.csv"
    file.write(results(row("flash", 407.123456789, first=1200.5)), path)
    change(path, old, new)

    with pytest.raises(ValueError, match=r"a\.csv': ") as raised:
        file.read(path)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "line 1 has no column benchmark"),
        (b"a;b;c\n1;2;3\n", "needs those of a wanattn benchmark, separated by commas"),
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
        (b"benchmark,backend,part,times,schema\n", "no rows"),
        (b'benchmark,backend,part,times,schema\n"a', "needs 5"),
    ],
)
def test_a_foreign_csv_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    with pytest.raises(ValueError) as raised:
        file.read(path)
    assert "a.csv" in str(raised.value) and sentence in str(raised.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not JSON: line 1 column 2"),
        ("[1]", "not a wanattn benchmark"),
        ('{"schema": 1, "runs": []}', "not a wanattn benchmark"),
        ("[" * 100_000, "not JSON that can be read"),
    ],
)
def test_a_foreign_json_is_a_sentence(tmp_path, content, sentence):
    (tmp_path / "a.json").write_text(content)

    with pytest.raises(ValueError) as raised:
        file.read(tmp_path / "a.json")
    assert "a.json" in str(raised.value) and sentence in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema": 9}, "schema 9, this wanattn knows up to 1: update wanattn"),
        ({"schema": "one"}, "schema 'one', needs a whole number"),
        ({"schema": None}, "schema None, needs a whole number"),
        ({"rows": {}}, "rows: {}, needs a list"),
        ({"rows": [7]}, "rows: number 1: 7, needs an object"),
        ({"rows": [{"backend": "flash", "part": "self"}]}, "rows: number 1: benchmark: missing"),
        ({"environment": {"gpu": ["H100"]}}, "environment: gpu: ['H100'], needs text or a number"),
        ({"notes": [1]}, "notes: number 1: 1, needs text"),
        ({"rows": [{**ROW, "tuning": "inf"}]}, "tuning: 'inf', needs a number from 0 on"),
        ({"rows": [{**ROW, "first": -1}]}, "first: -1, needs a number from 0 on"),
        ({"notes": "x" * 5000}, "xxx..., needs a list"),
        ({"finished": "yes"}, "finished: 'yes', needs true or false"),
    ],
)
def test_a_damaged_json_is_a_sentence(tmp_path, changes, sentence):
    data = {**file.plain(results(row("flash", 400.0))), **changes}
    (tmp_path / "a.json").write_text(json.dumps(data))

    with pytest.raises(ValueError) as raised:
        file.read(tmp_path / "a.json")
    assert "a.json" in str(raised.value) and sentence in str(raised.value)
    assert len(str(raised.value).replace(str(tmp_path), "")) < 200


def test_a_file_that_cannot_be_written_keeps_its_content(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("older")

    def locked(part, target):
        raise PermissionError(13, "used by another program", str(target))

    monkeypatch.setattr(os, "replace", locked)

    with pytest.raises(OSError, match=r"used by another program\); it is saved as '.*a.csv.part'"):
        file.write(results(row("flash", 400.0)), path)
    assert path.read_text() == "older"
    assert "400.0" in (tmp_path / "a.csv.part").read_text()


def test_a_link_is_written_through(tmp_path, link):
    (tmp_path / "real.csv").write_text("older")
    name = link(tmp_path / "link.csv", tmp_path / "real.csv")

    file.write(results(row("flash", 400.0)), name)

    assert name.is_symlink() and file.read(tmp_path / "real.csv").rows[0].ms == 400.0
