"""What is left of runs whose process was killed: whose it is, and files that nobody of ours wrote."""

from __future__ import annotations

import json
import os
import time

import pytest
from wanattn.tests.host.server import wait_until

PAYLOAD = {
    "schema": 1,
    "node": "10",
    "state": "running",
    "calls": 8,
    "runs": [{"run": 1, "state": "finished"}, {"run": 2, "state": "running"}],
    "notes": ["as before"],
}


TOLD = ["x/report"]


@pytest.fixture
def remains(workbench, monkeypatch):
    from wanattn.nodes.host.report import remains

    written = []
    monkeypatch.setattr(
        remains,
        "write",
        lambda snapshot, payload, prefix: written.append((prefix, payload)) or [prefix],
    )
    remains.written = written
    return remains


def left(remains, name="10", **facts):
    """A file of a process that is gone."""
    folder = remains._folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{remains.START}{name}.json"
    told = {
        **remains._process(),
        "began": 1.0,
        "job": "a job",
        "prefixes": ["x/report"],
        "payload": PAYLOAD,
    }
    path.write_text(json.dumps({**told, **facts}), encoding="utf-8")
    return path


def test_of_a_dead_process_it_is_told_once_and_removed(remains):
    path = left(remains)

    assert remains.recover() == ["x/report"]
    assert remains.recover() == []
    ((prefix, payload),) = remains.written
    assert prefix == "x/report" and not path.exists()
    assert [run["state"] for run in payload["runs"]] == ["finished", "interrupted"]
    assert payload["state"] == "interrupted"
    assert payload["notes"][0].startswith(remains.CUT_OFF) and payload["notes"][1:] == ["as before"]


def test_of_a_living_process_it_is_left_alone(remains):
    path = left(remains, **remains._process())

    assert remains.recover() == []
    assert path.exists()


@pytest.mark.parametrize("process", [-1, "one", None])
def test_of_no_process_that_can_be_it_is_left_where_it_is(remains, process):
    path = left(remains, process=process, began=None)

    assert remains.recover() == []
    assert path.exists()


@pytest.mark.parametrize("late", [0.9, -0.9])
def test_a_clock_may_tell_the_start_of_a_living_process_almost_a_second_wrong(remains, late):
    began = remains._process()["began"]
    left(remains, "10", began=began + late)
    left(remains, "20", began=began + late + late / 4, prefixes=["y/report"])

    assert remains.recover() == ["y/report"]


def test_of_a_process_that_is_not_there_any_more_it_is_told(remains):
    left(remains, process=2**31 - 1)

    assert remains.recover() == ["x/report"]


@pytest.mark.parametrize("machine", ["a machine", "z machine"])
@pytest.mark.parametrize(("age", "told"), [(10, []), (3599.5, []), (3600, TOLD), (8000, TOLD)])
def test_of_another_machine_it_is_left_alone_for_an_hour(remains, monkeypatch, machine, age, told):
    monkeypatch.setattr(remains.platform, "node", lambda: "this machine")
    monkeypatch.setattr(remains.time, "time", lambda: 10_000.0)
    path = left(remains, machine=machine)
    os.utime(path, (10_000 - age, 10_000 - age))

    assert remains.recover() == told


def test_of_two_nodes_of_a_job_the_one_that_a_report_waits_for_tells(remains):
    left(remains, "10", prefixes=[])
    left(remains, "20", prefixes=["y/report"])

    assert remains.recover() == ["y/report"]


def test_where_no_report_waits_the_node_that_saw_most_tells(remains):
    left(remains, "10", prefixes=[], payload={**PAYLOAD, "calls": 3})
    left(remains, "20", prefixes=[])

    assert remains.recover() == ["wanattn/report"]
    assert remains.written[0][1]["calls"] == 8


def test_of_nodes_that_saw_the_same_one_tells(remains):
    left(remains, "10", prefixes=[])
    left(remains, "20", prefixes=[])

    assert remains.recover() == ["wanattn/report"]


def test_jobs_are_told_apart(remains):
    """The one in the middle waits for no report, those beside it do."""
    for node, job, prefixes in (("1", "job a", ["a"]), ("2", "job b", []), ("3", "job c", ["c"])):
        left(remains, node, job=job, prefixes=prefixes)

    assert remains.recover() == ["a", "wanattn/report", "c"]


def test_a_report_that_cannot_be_written_does_not_cost_the_next(remains, monkeypatch, caplog):
    def write(snapshot, payload, prefix):
        if prefix == "../outside":
            raise Exception("outside the output folder")
        return [prefix]

    monkeypatch.setattr(remains, "write", write)
    left(remains, prefixes=["../outside", "x/report"])

    assert remains.recover() == ["x/report"]
    first, second = caplog.messages
    assert first == ".running_10.json: no report in ../outside (outside the output folder)"
    assert second == "a run was cut off when the server's process ended: x/report"


def test_nothing_is_said_where_nothing_is_left(remains, caplog):
    assert remains.recover() == [] and caplog.messages == []


def test_another_server_may_have_told_of_it_meanwhile(remains, monkeypatch):
    path = left(remains)
    monkeypatch.setattr(remains, "write", lambda *told: path.unlink() or ["x/report"])

    assert remains.recover() == ["x/report"]


def test_a_folder_that_cannot_be_read_ends_no_start(remains, monkeypatch, caplog):
    def gone():
        raise OSError("the share is gone")

    monkeypatch.setattr(remains, "_folder", gone)

    assert remains.recover() == []
    assert caplog.messages == ["what was left of a run could not be told (the share is gone)"]


@pytest.mark.parametrize(("more", "told"), [(0, ["x/report"]), (1, [])])
def test_a_file_above_64_mib_is_not_read(remains, more, told):
    path = left(remains)
    size = path.stat().st_size
    with path.open("a") as file:
        file.write(" " * (64 * 2**20 - size + more))

    assert remains.recover() == told


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"payload": 3}', "[" * 5000, "{}"])
def test_what_nobody_of_ours_wrote_is_left_where_it_is(remains, content):
    path = left(remains)
    path.write_text(content, encoding="utf-8")

    assert remains.recover() == []
    assert path.exists()


@pytest.mark.parametrize("missing", ["process", "job", "prefixes", "payload"])
def test_what_lacks_a_part_is_left_where_it_is(remains, missing):
    path = left(remains)
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({key: told[key] for key in told if key != missing}))

    assert remains.recover() == []
    assert path.exists()


def test_a_payload_without_runs_and_notes_is_marked_too(remains):
    left(remains, payload={"calls": 3})

    remains.recover()

    ((_, payload),) = remains.written
    assert {**payload, "notes": len(payload["notes"])} == {
        "calls": 3,
        "state": "",
        "runs": [],
        "notes": 1,
    }


def test_a_state_is_written_every_few_seconds_at_most_and_not_after_the_end(remains, monkeypatch):
    monkeypatch.setattr(remains, "waiting_prefixes", lambda *job: [])
    kept = remains.Remains("10")
    kept.begin()
    for _ in range(100):
        kept.keep(PAYLOAD, "a", ())
    wait_until(lambda: list(remains._folder().glob(".running_*.json")), 20, lambda: "nothing came")

    assert [path.name for path in remains._folder().glob(".running_*")] == [kept._path.name]
    kept.drop()
    kept.keep(PAYLOAD, "a", ())
    assert list(remains._folder().glob(".running_*")) == []


def test_the_first_calls_are_kept_at_once_and_later_ones_every_few_seconds(remains):
    kept = remains.Remains("10")
    kept.begin()
    wait_until(lambda: keep(kept, 0) == [0], 30, str)
    wait_until(lambda: keep(kept, 8) == [8], 30, str)
    keep(kept, 16)
    time.sleep(0.3)
    assert [calls_of(path) for path in remains._folder().glob(f"{remains.START}*")] == [8]
    kept.drop()


def keep(kept, calls):
    """What the disk has then; it may still be busy with what was kept last."""
    kept.keep({**PAYLOAD, "calls": calls}, None, ())
    return [calls_of(kept._path)] if kept._path and kept._path.exists() else []


def calls_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["payload"]["calls"]
