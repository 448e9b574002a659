"""Which tests a fault is tried against; the faults themselves need a package that is not installed here."""

from __future__ import annotations

import textwrap

import pytest
from wanattn.tools.mutation.reach import Reach, Reached

FILE = "attention/choice.py"
CODE = textwrap.dedent("""\
    LIMIT = 3


    def few(
        items,
        most=LIMIT,
    ):
        if (
            len(items)
            <= most
        ):
            return True
        return False
    """)


def note(test, seconds, *lines, file=FILE):
    return {"test": test, "seconds": seconds, "lines": [(file, line) for line in lines]}


@pytest.fixture
def reached():
    return Reached.of(
        [
            note("", 0.0, 1, 4, 6),
            note("slow", 9.0, 8, 9, 10, 12),
            note("quick", 1.0, 9, 13),
            note("elsewhere", 0.1, 9, file="attention/other.py"),
        ]
    )


@pytest.mark.parametrize(
    ("line", "tests"),
    [
        (10, ["quick", "slow"]),  # a line of a condition that begins further up; the quickest first
        (12, ["slow"]),
        (13, ["quick"]),
        (1, ["quick", "slow"]),  # runs at import: whoever runs anything of the file may see it
        (6, ["quick", "slow"]),
        (99, ["quick", "slow"]),
    ],
)
def test_a_fault_meets_the_tests_that_run_its_statement(reached, line, tests):
    assert reached.tests(FILE, CODE, line) == tests


def test_a_fault_at_import_meets_the_tests_of_its_room_too():
    """A table of what a module holds runs no line of it."""
    table = "tests/attention/backends/test_table.py::test_all"
    file = "attention/backends/kernels/choice.py"
    told = [note("", 0.0, 1, 4, 6, file=file), note(table, 1.0), note("slow", 9.0, 9, file=file)]

    assert Reached.of(told).tests(file, CODE, 1) == [table, "slow"]
    assert Reached.of(told).tests(file, CODE, 12) == [table, "slow"]  # that no test is known to run
    assert Reached.of(told).tests(file, CODE, 9) == ["slow"]


def test_no_test_meets_a_file_that_none_runs(reached):
    assert reached.tests("attention/unused.py", CODE, 12) == []


def test_lines_are_noted_of_the_folders_only_and_by_test(tmp_path):
    reach = Reach(tmp_path, ("attention",))
    (tmp_path / "attention").mkdir()
    spaces = {}
    for name in ("attention/choice.py", "other.py"):
        path = tmp_path / name
        path.write_text(CODE, encoding="utf-8")
        exec(compile(CODE, str(path), "exec"), spaces.setdefault(name, {}))

    with reach.noting("one"):
        assert spaces["attention/choice.py"]["few"]([1])
        assert spaces["other.py"]["few"]([1])

    (told,) = reach.told()
    assert told["test"] == "one"
    assert {file for file, _ in told["lines"]} == {FILE}
    assert {line for _, line in told["lines"]} >= {9, 12} and (FILE, 13) not in told["lines"]
