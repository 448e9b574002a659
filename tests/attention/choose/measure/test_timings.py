"""The timings file: what is kept, what is refused, and what two processes do to it."""

from __future__ import annotations

import itertools
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from wanattn.attention import disk
from wanattn.attention.choose.measure import timings as room
from wanattn.attention.choose.measure.timings import (
    Timing,
    Timings,
    bucket,
    default_path,
    key_of,
    own_timings,
    parse,
    render,
)

FLASH = Timing(396.0, 420.0, 2e-3)
SAGE = Timing(310.0, 900.0, 1.4e-2, "1.0.6")


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
    "next to nothing": entry(milliseconds=5e-324),
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

    def locked(path, most):
        raise PermissionError(13, "in use", str(path))

    timings = Timings(path, "card")
    with monkeypatch.context() as patched:
        patched.setattr(disk, "read", locked)
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


def names(path: Path) -> set[str]:
    """Of what lies beside the file; a lock may stay, held by nobody."""
    return {entry.name for entry in path.parent.iterdir()} - {"timings.json.lock"}


def test_nothing_but_the_file_is_left_behind(path, make_call):
    Timings(path, "card").write(make_call(), {"flash": FLASH})

    assert names(path) == {"timings.json"}


def test_the_file_is_never_written_in_place(path, make_call, monkeypatch):
    """Whoever reads meanwhile sees the old file whole; where writing fails it stays, and no draft beside it."""
    Timings(path, "card").write(make_call(), {"flash": FLASH})
    whole, seen = path.read_text(), []

    def full(descriptor):
        seen.append(path.read_text())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    timings = Timings(path, "card")
    timings.write(make_call(), {"sage": SAGE})

    assert seen == [whole] and path.read_text() == whole
    assert names(path) == {"timings.json"}
    assert "No space left on device" in timings.problem


def test_drafts_of_killed_processes_are_removed(path, make_call):
    path.parent.mkdir()
    dead, alive = (path.with_name(f"timings.json.{number}-1.part") for number in (1, 2))
    for draft in (dead, alive):
        draft.touch()
    os.utime(dead, (time.time() - 2 * disk.DEAD,) * 2)

    Timings(path, "card").write(make_call(), {"flash": FLASH})

    assert names(path) == {"timings.json", alive.name}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a name")
def test_a_pipe_in_its_place_is_a_sentence_and_no_wait(path, make_call):
    path.parent.mkdir()
    os.mkfifo(path)
    timings = Timings(path, "card")

    assert timings.read(make_call()) == {}
    assert "cannot be read (a pipe or a device, needs a regular file)" in timings.problem
    timings.write(make_call(), {"flash": FLASH})
    assert timings.read(make_call()) == {"flash": FLASH} and path.is_fifo()


def test_a_file_without_an_end_is_set_aside(path, make_call, monkeypatch):
    path.parent.mkdir()
    path.write_text(document())
    monkeypatch.setattr(room, "MOST_BYTES", 10)
    timings = Timings(path, "card")

    assert timings.read(make_call()) == {}
    assert "more than 10 bytes" in timings.problem and not path.exists()


def test_a_time_that_no_card_could_reach_is_not_used(path, make_call):
    """A card of 10 PFLOP/s takes 2.2 ms for it."""
    call = make_call()
    for milliseconds, used in ((2.1, {}), (2.3, {"flash": Timing(2.3, 900.0)})):
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        timing = Timing(milliseconds, 900.0)
        path.write_text(render({"card": {key_of(call): {"flash": timing}}}))
        timings = Timings(path, "card")
        assert timings.read(call) == used
        assert bool(timings.problem) is not bool(used)
        timings = Timings(None, "card")
        timings.write(call, {"flash": timing})
        assert timings.read(call) == used


@pytest.mark.parametrize("moment", [-60, 1e7], ids=["old", "from the future"])
def test_lock_file_of_a_dead_process_is_none(path, make_call, moment):
    path.parent.mkdir()
    lock = path.with_name("timings.json.lock")
    lock.touch()
    os.utime(lock, (time.time() + moment,) * 2)
    start = time.monotonic()

    timings = Timings(path, "card")
    timings.write(make_call(), {"flash": FLASH})

    assert path.exists() and not timings.problem
    assert time.monotonic() - start < room.LOCK_SECONDS


def test_a_lock_that_is_held_is_waited_for_once_and_then_told(path, make_call, monkeypatch):
    monkeypatch.setattr(room, "LOCK_SECONDS", 1.0)
    path.parent.mkdir()
    timings = Timings(path, "card")
    with FileLock(path.with_name("timings.json.lock")):
        start = time.monotonic()
        timings.write(make_call(), {"flash": FLASH})
        once = time.monotonic() - start
        timings.write(make_call(), {"sage": SAGE})
        both = time.monotonic() - start

    assert 1.0 <= once < 5 and both - once < 1.0
    assert timings.problem == (
        "timings.json.lock is held by another program; timings are written all the same"
    )
    assert Timings(path, "card").read(make_call()) == {"flash": FLASH, "sage": SAGE}


def add(path: Path, heads: int, make_call) -> None:
    for index in range(40):
        timings = Timings(path, "card")
        call = make_call(heads=heads, q_len=64, kv_len=index + 1)
        timings.write(call, {"flash": Timing(1.0, 1.0)})
        assert not timings.problem, timings.problem


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="Windows starts no process as a copy of this one"
)
def test_two_processes_lose_nothing(path, make_call):
    fork = multiprocessing.get_context("fork")
    writers = [
        fork.Process(target=add, args=(path, heads, make_call), daemon=True) for heads in (24, 40)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=120)

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(parse(path.read_text())["card"]) == 80
    assert names(path) == {"timings.json"}


HOLDING = """
import sys, time
with open(sys.argv[1]) as held:
    print("open", flush=True)
    time.sleep(0.3)
"""


def test_what_another_process_reads_is_written_all_the_same(path, make_call):
    """On Windows it is waited for, and what was timed stays in memory meanwhile."""
    timings = Timings(path, "card")
    timings.write(make_call(), {"flash": FLASH})
    command = [sys.executable, "-c", HOLDING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline().strip() == b"open"

        timings.write(make_call(q_len=512), {"sage": SAGE})

    assert Timings(path, "card").read(make_call()) == {"flash": FLASH}
    assert Timings(path, "card").read(make_call(q_len=512)) == {"sage": SAGE}


def test_two_threads_lose_nothing(path, make_call):
    threads = [threading.Thread(target=add, args=(path, n, make_call)) for n in (24, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(parse(path.read_text())["card"]) == 80


def test_a_drive_that_knows_no_locks_is_written_all_the_same(path, make_call, monkeypatch):
    def unknown(*given, **options):
        raise NotImplementedError

    monkeypatch.setattr(room.FileLock, "acquire", unknown)
    Timings(path, "card").write(make_call(), {"flash": FLASH})

    assert Timings(path, "card").read(make_call()) == {"flash": FLASH}


@pytest.mark.parametrize(
    ("system", "folder"),
    [
        ("win32", "AppData/Local/wanattn"),
        ("darwin", "Library/Caches/wanattn"),
        ("linux", ".cache/wanattn"),
    ],
)
def test_default_path_is_in_the_home_folder_where_the_system_has_such_files(
    monkeypatch, system, folder
):
    monkeypatch.setattr(sys, "platform", system)

    assert default_path() == Path.home() / folder / "timings.json"


def test_without_a_host_what_was_timed_is_read_again_unless_it_is_to_be_forgotten(
    empty_cache, make_call
):
    own_timings("cpu").write(make_call(), {"flash": FLASH})

    assert own_timings("cpu").read(make_call()) == {"flash": FLASH}
    assert own_timings("cpu", forget=True).read(make_call()) == {}
