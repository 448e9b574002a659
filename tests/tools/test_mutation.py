"""Which tests a fault is tried against; the faults themselves need a package that is not installed here."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest
from wanattn.tools.mutation.near import Near, readers
from wanattn.tools.mutation.reach import Reach
from wanattn.tools.mutation.results import Results
from wanattn.tools.mutation.tiers import Tier

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
def near():
    return Near.of(
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
        (99, ["quick", "slow"]),  # that no test is known to run
    ],
)
def test_a_fault_meets_the_tests_that_run_its_statement(near, line, tests):
    assert near.tests(FILE, CODE, line) == tests


def test_a_fault_at_import_meets_the_tests_of_its_room_too():
    """A table of what a module holds runs no line of it."""
    table = "tests/attention/backends/test_table.py::test_all"
    file = "attention/backends/kernels/choice.py"
    told = [note("", 0.0, 1, 4, 6, file=file), note(table, 1.0), note("slow", 9.0, 9, file=file)]

    assert Near.of(told).tests(file, CODE, 1) == [table, "slow"]
    assert Near.of(told).tests(file, CODE, 12) == [table]  # that no test is known to run
    assert Near.of(told).tests(file, CODE, 9) == ["slow"]


def test_a_module_that_a_test_imports_runs_at_import_all_the_same():
    told = [note("first", 1.0, 1, 4, 6, 9), note("second", 2.0, 13)]

    assert Near.of(told).tests(FILE, CODE, 1) == ["second", "first"]
    assert Near.of(told).tests(FILE, CODE, 9) == ["first"]


def test_where_no_tests_mirror_the_file_those_of_its_readers_take_the_place_of_its_room(tmp_path):
    for name, code in {
        "choice": CODE,
        "reader": "from .choice import LIMIT\n",
        "package": "from . import choice\n",
        "stranger": "from .reader import LIMIT\n",
    }.items():
        path = tmp_path / "nodes" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    told = [
        note("", 0.0, 1, file="nodes/choice.py"),
        note("tests/host/test_a.py::test_reads", 1.0, 1, file="nodes/reader.py"),
        note("tests/host/test_a.py::test_takes_the_package", 2.0, 1, file="nodes/package.py"),
        note("tests/host/test_a.py::test_is_far", 1.0, 1, file="nodes/stranger.py"),
    ]

    found = Near.of(told, readers(tmp_path, ["nodes"])).tests("nodes/choice.py", CODE, 1)

    assert [test.partition("::")[2] for test in found] == ["test_reads", "test_takes_the_package"]


def test_tests_named_as_the_module_come_first_then_those_named_as_its_folder():
    file = "nodes/expected/choice.py"
    told = [
        note("tests/host/test_other.py::test_all", 1.0, 9, file=file),
        note("tests/host/test_expected.py::test_all", 2.0, 9, file=file),
        note("tests/host/test_choices.py::test_all", 3.0, 9, file=file),
    ]

    found = Near.of(told).tests(file, CODE, 9)

    assert found == [f"tests/host/test_{n}.py::test_all" for n in ("choices", "expected", "other")]


def test_a_test_that_runs_few_other_lines_comes_before_one_as_quick_that_runs_many():
    told = [note("a", 1.0, 8, 9, 12), note("b", 1.0, 9)]

    assert Near.of(told).tests(FILE, CODE, 9) == ["b", "a"]


def test_one_of_each_function_comes_before_the_others_that_are_like_it():
    told = [
        note("f.py::test_a[1]", 1.0, 9),
        note("f.py::test_a[2]", 2.0, 9),
        note("f.py::test_b[1]", 3.0, 9),
        note("g.py::test_c", 4.0, 9),
        note("g.py::test_c[2]", 5.0, 9),
    ]

    found = Near.of(told).tests(FILE, CODE, 9)

    assert found == [
        "f.py::test_a[1]",
        "f.py::test_b[1]",
        "g.py::test_c",
        "f.py::test_a[2]",
        "g.py::test_c[2]",
    ]


def test_a_quick_test_does_not_wait_for_those_of_other_functions():
    told = [
        note("f.py::test_a[1]", 0.01, 9),
        note("f.py::test_a[2]", 0.05, 9),
        note("f.py::test_a[3]", 0.5, 9),
        note("g.py::test_b", 1.0, 9),
    ]

    assert [test[-4:] for test in Near.of(told).tests(FILE, CODE, 9)] == [
        "a[1]",
        "a[2]",
        "st_b",
        "a[3]",
    ]


@pytest.mark.parametrize(("seconds", "tests"), [(1.0, ["a"]), (3.0, ["a", "b"]), (0.1, ["a"])])
def test_a_fault_costs_as_much_as_is_said_but_one_test_at_least(seconds, tests):
    near = Near.of([note("a", 1.0, 9), note("b", 2.0, 9)])

    assert near.within(["a", "b"], seconds) == tests


def test_what_runs_in_other_processes_meets_the_tests_named_as_it():
    told = [
        note("tests/host/test_ranks.py::test_all", 1.0),
        note("tests/host/test_other.py::test_all", 1.0, 9),
    ]

    found = Near.of(told).tests("nodes/ranks/choice.py", CODE, 9)

    assert found == ["tests/host/test_ranks.py::test_all"]


def test_no_test_meets_a_file_that_none_runs(near):
    assert near.tests("attention/unused.py", CODE, 12) == []
    assert near.within([], 60.0) == []


@pytest.fixture
def choice(tmp_path):
    """The code above as two files, one of them in a folder whose lines are noted."""
    (tmp_path / "attention").mkdir()
    spaces = {}
    for name in (FILE, "other.py"):
        path = tmp_path / name
        path.write_text(CODE, encoding="utf-8")
        exec(compile(CODE, str(path), "exec"), spaces.setdefault(name, {}))
    return {name: space["few"] for name, space in spaces.items()}


def test_lines_are_noted_of_the_folders_only_and_by_test(tmp_path, choice):
    reach = Reach(tmp_path, ("attention",))

    with reach.noting("one"):
        assert choice[FILE]([1])
        assert choice["other.py"]([1])

    _, told = reach.told()
    assert told["test"] == "one"
    assert {file for file, _ in told["lines"]} == {FILE}
    assert {line for _, line in told["lines"]} >= {9, 12} and (FILE, 13) not in told["lines"]


SHARED = """
import pytest

@pytest.fixture(scope="module")
def few(pytestconfig):
    return pytestconfig.choice([1])

def test_first(few):
    assert few

def test_second(few):
    assert few

def test_without():
    pass
"""


class Given:
    def __init__(self, choice):
        self.choice = choice

    def pytest_configure(self, config):
        config.choice = self.choice


def test_what_a_shared_fixture_runs_counts_for_each_test_that_uses_it(tmp_path, choice):
    reach = Reach(tmp_path, ("attention",))
    path = tmp_path / "test_shared.py"
    path.write_text(SHARED, encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]

    assert pytest.main([*options, str(path)], plugins=[reach, Given(choice[FILE])]) == 0

    lines = {one["test"].partition("::")[2]: one["lines"] for one in reach.told()}
    assert (FILE, 12) in lines["test_first"] and (FILE, 12) in lines["test_second"]
    assert lines["test_without"] == []


def tried(number, killed):
    named = {"file": FILE, "place": [number, 0], "operator": "core/Number", "occurrence": number}
    return {**named, "killed": killed}


def test_what_was_tried_is_there_at_once_and_is_not_tried_again(tmp_path):
    path = tmp_path / "results.jsonl"
    Results(path, "one state").keep(tried(1, True))
    Results(path, "one state").keep(tried(2, False))

    known = Results(path, "one state").known()

    assert [known[FILE, (n, 0), "core/Number", n]["killed"] for n in (1, 2)] == [True, False]


def test_results_of_another_state_of_the_repository_are_refused(tmp_path):
    path = tmp_path / "results.jsonl"
    Results(path, "one state").keep(tried(1, True))

    with pytest.raises(SystemExit, match="of another state of the repository"):
        Results(path, "another").known()


TESTS = """
from pathlib import Path

from choice import few, most


def test_few():
    assert few([1, 2, 3])


def test_many():
    assert not few([1] * 9)


def test_unlike():
    assert most() > 0


def test_unsteady():
    seen = Path(__file__).with_name("seen")
    assert few([]) and not seen.exists()
    seen.touch()


def test_elsewhere(server):
    raise AssertionError("needs a server")
"""


@pytest.fixture
def repository(tmp_path):
    """A small one, with a fixture that stands for a server."""
    copy = tmp_path / "copy"
    for name, code in {
        "conftest.py": SERVER,
        FILE: f"{CODE}\n\ndef most():\n    return LIMIT\n",
        "tests/attention/test_choice.py": TESTS,
    }.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(code, encoding="utf-8")
    return copy


SERVER = """
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "attention"))


@pytest.fixture
def server():
    yield
"""


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="faults are tried in forks, which Windows has not"
)
def test_faults_are_tried_in_the_process_of_a_tier(repository, tmp_path):
    tier = Tier(repository, tmp_path / "notes", sys.executable, ["tests/attention"], 60.0)
    code = (repository / FILE).read_text(encoding="utf-8")

    def try_(line, old, new):
        source = code.replace(old, new)
        return tier.tried({"file": FILE, "place": (line, 0), "source": source})

    try:
        lesser = try_(9, "<= most", "< most")
        other = try_(1, "LIMIT = 3", "LIMIT = 4")
        broken = try_(12, "return True", "return missing")
    finally:
        tier.end()

    test = "tests/attention/test_choice.py::test"
    assert lesser["by"] == f"FAILED {test}_few" and lesser["of"] == 3
    assert not other["killed"] and (other["tests"], other["of"]) == (
        3,
        4,
    )  # one fails without the fault too
    assert broken["by"] == f"FAILED {test}_few"
    assert (repository / FILE).read_text(encoding="utf-8") == code
    assert len(list((tmp_path / "notes").iterdir())) == 1
