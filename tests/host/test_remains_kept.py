"""How the state of a run is kept while it goes on: when, where, and that its trouble is nobody else's."""

from __future__ import annotations

import json
import logging
import os
import threading

import pytest

PAYLOAD = {"calls": 8}


class AtOnce:
    """A thread that is over when it has been started. It must not hold up the end of the process."""

    def __init__(self, target, args, daemon):
        assert daemon is True
        self.start = lambda: target(*args)


@pytest.fixture
def clock(comfy, monkeypatch):
    from wanattn.nodes.host.report import remains

    now = [0.0]
    monkeypatch.setattr(remains.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def remains(workbench, clock, monkeypatch):
    from wanattn.nodes.host.report import remains

    monkeypatch.setattr(remains.threading, "Thread", AtOnce)
    monkeypatch.setattr(remains, "waiting_prefixes", lambda node, job, reported: [node, job])
    return remains


def keep(kept, calls=8):
    kept.keep({"calls": calls}, "a job", ())


def on_disk(remains):
    """The calls of each file that is there."""
    files = sorted(remains._folder().glob("*"))
    return [json.loads(path.read_text(encoding="utf-8"))["payload"]["calls"] for path in files]


def test_a_state_tells_whose_it_is_and_who_waits_for_it(remains):
    kept = remains.Remains("10:3")
    keep(kept)

    (path,) = remains._folder().iterdir()
    assert path.name == f".running_{os.getpid()}_10-3.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {
        **remains._process(),
        "job": "a job",
        "prefixes": ["10:3", "a job"],
        "payload": PAYLOAD,
    }


def test_calls_are_kept_every_three_seconds_and_anew_in_the_next_run(remains, clock):
    kept, shown = remains.Remains("10"), []
    for moment in (0.0, 2.9, 3.0, 8.0, 10.9, 11.0):
        clock[0] = moment
        keep(kept, int(moment * 10) + 1)
        shown.append(on_disk(remains))
    assert shown == [[1], [1], [31], [81], [81], [111]]

    clock[0] = 0.0
    kept.begin()
    keep(kept, 5)
    assert on_disk(remains) == [5]


def test_a_state_without_calls_does_not_delay_the_first(remains, clock):
    kept = remains.Remains("10")
    keep(kept, 0)
    keep(kept, 1)

    assert on_disk(remains) == [1]


def test_nothing_is_kept_without_a_node_nor_while_the_last_is_on_its_way(remains):
    keep(remains.Remains(None))
    busy = remains.Remains("10")
    with busy._writing:
        keep(busy)

    assert on_disk(remains) == []


def test_what_comes_after_the_end_is_not_kept(remains, clock, caplog):
    caplog.set_level(logging.DEBUG, "wanattn")
    kept = remains.Remains("10")
    keep(kept)
    kept.drop()
    clock[0] = 10.0
    keep(kept)
    assert on_disk(remains) == []

    kept.drop()
    assert caplog.messages == []
    kept.begin()
    keep(kept)
    assert on_disk(remains) == [8]


def test_an_output_folder_that_is_not_there_yet_is_made(remains, tmp_path):
    import folder_paths

    folder_paths.set_output_directory(str(tmp_path / "new" / "output"))
    keep(remains.Remains("10"))

    assert on_disk(remains) == [8]


def test_a_long_name_of_a_node_is_cut(remains):
    kept = remains.Remains("1234567890" * 7)
    keep(kept)

    assert kept._path.name == f".running_{os.getpid()}_{'1234567890' * 6}.json"


@pytest.mark.parametrize("trouble", ["a file in place of the folder", "no JSON"])
def test_a_state_that_cannot_be_kept_ends_no_run(remains, tmp_path, caplog, trouble):
    caplog.set_level(logging.DEBUG, "wanattn")
    if trouble == "no JSON":
        remains.Remains("10").keep({"calls": object()}, None, ())
    else:
        (tmp_path / "wanattn").write_text("")
        keep(remains.Remains("10"))

    (message,) = caplog.messages
    assert message.startswith("node 10: its state could not be kept (")


def test_a_file_that_cannot_be_removed_ends_no_run(remains, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "wanattn")
    kept = remains.Remains("10")
    kept._path = tmp_path
    kept.drop()

    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path} could not be removed (")


def test_the_disk_is_written_by_a_thread_of_its_own(workbench, monkeypatch):
    from wanattn.nodes.host.report import remains

    threads = []
    monkeypatch.setattr(remains.disk, "write", lambda *what: threads.append(threading.get_ident()))
    kept = remains.Remains("10")
    keep(kept)
    for _ in range(2_000):
        if threads:
            break
        threading.Event().wait(0.01)

    assert threads != [threading.get_ident()] and len(threads) == 1
