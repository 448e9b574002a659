"""The timings file: what is kept, what is refused, and what two processes do to it."""

from __future__ import annotations

import itertools
import json
import logging
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from wanattn.attention.choose.timings import (
    Timing,
    Timings,
    bucket,
    default_path,
    key_of,
    parse,
    render,
)

FLASH = Timing(396.0, 420.0, 2e-3)
SAGE = Timing(310.0, 900.0, 1.4e-2, "1.0.6")
TESTS = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wanattn" / "timings.json"


def test_another_process_reads_what_was_written(path, make_call):
    Timings(path, "card").write(make_call(), {"flash": FLASH, "sage": SAGE})

    assert Timings(path, "card").read(make_call()) == {"flash": FLASH, "sage": SAGE}


def test_machines_are_kept_apart(path, make_call):
    Timings(path, "one card").write(make_call(), {"flash": FLASH})
    Timings(path, "another").write(make_call(), {"sage": SAGE})

    assert Timings(path, "one card").read(make_call()) == {"flash": FLASH}
    assert Timings(path, "another").read(make_call()) == {"sage": SAGE}


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": torch.float16},
        {"heads": 24, "kv_heads": 24},
        {"kv_heads": 8},
        {"head_dim": 64},
        {"batch": 2},
        {"mask": "bool"},
        {"kv_len": 512},
        {"q_len": 82992},
    ],
    ids=lambda change: "-".join(change),
)
def test_key_tells_calls_apart(make_call, change):
    assert key_of(make_call(**change)) != key_of(make_call())


def test_key_ignores_role_and_device_number(make_call):
    assert key_of(make_call(role="other", device="cuda:1")) == key_of(make_call())


def test_buckets_are_four_per_cent_wide():
    edges = sorted({bucket(length) for length in range(600, 200_000)})

    assert all(1.035 < after / before < 1.055 for before, after in itertools.pairwise(edges))
    assert [bucket(length) for length in (1, 77, 512)] == [1, 77, 512]
    assert all(bucket(edge) == edge or bucket(edge + 1) == edge for edge in edges[1:])


def test_without_a_path_nothing_is_written(tmp_path, make_call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    timings = Timings(None, "card")
    timings.write(make_call(), {"flash": FLASH})

    assert timings.read(make_call()) == {"flash": FLASH}
    assert list(tmp_path.iterdir()) == []


def document(**changes) -> str:
    good = json.loads(render({"card": {"key": {"flash": FLASH}}}))
    return json.dumps({**good, **changes})


def entry(**changes) -> str:
    timing = {"milliseconds": 1.0, "first": 1.0, "error": None, "version": "", **changes}
    return document(machines={"card": {"key": {"flash": timing}}})


DAMAGED = {
    "empty": "",
    "half": document()[:-20],
    "deep": "[" * 100_000,
    "list": "[1, 2]",
    "another program's": '{"workflow": {}}',
    "newer": document(schema=2),
    "machines a list": document(machines=[]),
    "machine a number": document(machines={"card": 3}),
    "no timing": document(machines={"card": {"key": {"flash": 3}}}),
    "extra field": entry(more=1),
    "negative": entry(milliseconds=-1.0),
    "zero": entry(milliseconds=0),
    "text": entry(milliseconds="fast"),
    "true": entry(first=True),
    "not a number": entry(milliseconds=float("nan")),
    "infinite": entry(first=float("inf")),
    "too large for a float": entry(first=10**400),
    "version": entry(version=None),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_damaged_file_is_set_aside_with_a_message(path, make_call, caplog, text):
    path.parent.mkdir()
    path.write_text(text)
    timings = Timings(path, "card")

    with caplog.at_level(logging.WARNING, "wanattn"):
        assert timings.read(make_call()) == {}

    (aside,) = path.parent.glob("timings.json.damaged-*")
    assert aside.read_text() == text and not path.exists()
    assert "timings are measured anew" in timings.problem
    assert caplog.messages == [f"{timings.problem} (in {path.parent})"]
    assert str(path.parent) not in timings.problem
    timings.write(make_call(), {"flash": FLASH})
    assert Timings(path, "card").read(make_call()) == {"flash": FLASH}


def test_two_long_damaged_files_in_a_second_are_kept_and_told_in_short(path, make_call):
    path.parent.mkdir()
    for number in range(2):
        path.write_text(document(schema=str(number) + "x" * 10**6))
        timings = Timings(path, "card")
        timings.read(make_call())
        assert len(timings.problem) < 400

    assert len(list(path.parent.glob("timings.json.damaged-*"))) == 2


def test_bytes_that_are_no_text_are_set_aside(path, make_call):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00damaged")

    assert Timings(path, "card").read(make_call()) == {}
    assert not path.exists()


def test_good_file_survives_a_round_trip():
    machines = {"card": {"key": {"flash": FLASH, "sage": SAGE}}}

    assert parse(render(machines)) == machines


def test_folder_in_the_way_is_not_fatal(path, make_call, caplog):
    path.mkdir(parents=True)
    timings = Timings(path, "card")
    timings.write(make_call(), {"flash": FLASH})

    assert timings.read(make_call()) == {"flash": FLASH}
    assert "timings are kept in memory only" in timings.problem


def test_a_file_that_cannot_be_read_is_not_written_over(path, make_call, monkeypatch):
    """As where another program has it open on Windows."""
    Timings(path, "other card").write(make_call(), {"flash": FLASH})

    def locked(self, **facts):
        raise PermissionError(13, "in use", str(self))

    timings = Timings(path, "card")
    with monkeypatch.context() as patched:
        patched.setattr(type(path), "read_text", locked)
        timings.write(make_call(), {"flash": FLASH})
        assert (
            timings.problem
            == "timings.json cannot be written (in use); timings are kept in memory only"
        )

    assert timings.read(make_call()) == {"flash": FLASH}
    assert Timings(path, "other card").read(make_call()) == {"flash": FLASH}


def test_no_folder_can_be_made_is_not_fatal(tmp_path, make_call):
    (tmp_path / "wanattn").write_text("a file where the folder should be")
    timings = Timings(tmp_path / "wanattn" / "timings.json", "card")
    timings.write(make_call(), {"flash": FLASH})

    assert timings.read(make_call()) == {"flash": FLASH}
    assert timings.problem


def test_nothing_but_the_file_is_left_behind(path, make_call):
    Timings(path, "card").write(make_call(), {"flash": FLASH})

    assert [entry.name for entry in path.parent.iterdir()] == ["timings.json"]


def test_lock_of_a_dead_process_is_taken_over(path, make_call):
    path.parent.mkdir()
    lock = path.with_name("timings.json.lock")
    lock.touch()
    os.utime(lock, (time.time() - 60,) * 2)

    Timings(path, "card").write(make_call(), {"flash": FLASH})

    assert path.exists() and not lock.exists()


WRITER = textwrap.dedent("""
    import sys
    sys.path.insert(0, sys.argv[1])
    import conftest
    from pathlib import Path
    import torch
    from wanattn.attention.call import Call
    from wanattn.attention.choose.timings import Timing, Timings

    for index in range(40):
        timings = Timings(Path(sys.argv[2]), "card")
        call = Call("self", 1, int(sys.argv[3]), 64, index + 1, 128, torch.bfloat16)
        timings.write(call, {"flash": Timing(1.0, 1.0)})
        assert not timings.problem, timings.problem
""")


def test_two_processes_lose_nothing(path):
    command = [sys.executable, "-c", WRITER, str(TESTS), str(path)]
    writers = [subprocess.Popen([*command, heads]) for heads in ("24", "40")]

    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert len(parse(path.read_text())["card"]) == 80
    assert [entry.name for entry in path.parent.iterdir()] == ["timings.json"]


def test_default_path_is_in_the_home_folder():
    assert default_path().is_relative_to(Path.home())
    assert default_path().name == "timings.json"
