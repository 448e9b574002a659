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
        "job": "a",
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


@pytest.mark.parametrize(("age", "told"), [(10, []), (7200, ["x/report"])])
def test_of_another_machine_it_is_left_alone_for_an_hour(remains, age, told):
    path = left(remains, machine="another one")
    moment = path.stat().st_mtime - age
    os.utime(path, (moment, moment))

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


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"payload": 3}', "[" * 5000, "{}"])
def test_what_nobody_of_ours_wrote_is_left_where_it_is(remains, content):
    path = left(remains)
    path.write_text(content, encoding="utf-8")

    assert remains.recover() == []
    assert path.exists()


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
