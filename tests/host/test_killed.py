"""A server that is killed in the middle of a run: what was recorded is there after the restart, and marked."""

from __future__ import annotations

import json
import os
import signal

import pytest
from wanattn.tests.host.conftest import HOST
from wanattn.tests.host.graph import single
from wanattn.tests.host.server import Server, install_nodes, wait_until


@pytest.fixture
def mortal(comfy, tmp_path):
    """A server of the test's own, which it may kill."""
    from wanattn.tests.host import tiny

    install_nodes(tmp_path)
    models = tmp_path / "models" / "diffusion_models"
    models.mkdir(parents=True)
    tiny.save_wan(models, "t2v", 1, "high_noise")
    server = Server(HOST, tmp_path)
    server.start()
    yield server
    server.stop()


def running(server):
    return list((server.output / "wanattn").glob(".running_*.json"))


def recorded(server):
    """Calls in what is kept of the run that goes on."""
    try:
        files = [json.loads(path.read_text(encoding="utf-8")) for path in running(server)]
    except FileNotFoundError:  # a newer one takes its place
        return 0
    return max((told["payload"]["calls"] for told in files), default=0)


def kill(server):
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait(20)


def test_what_was_recorded_is_there_after_the_restart(mortal):
    mortal.queue(single("flash", "killed", steps=5000))
    wait_until(lambda: recorded(mortal) > 8, 120, mortal.log)
    known = recorded(mortal)

    kill(mortal)
    assert mortal.files("killed/report", ".json") == []
    mortal.start()

    (path,) = mortal.files("killed/report", ".json")
    payload = json.loads(path.read_text(encoding="utf-8"))
    assert payload["state"] == payload["runs"][0]["state"] == "interrupted"
    assert payload["notes"][0].startswith("cut off: the server's process ended")
    assert payload["calls"] >= known
    assert payload["totals"] == {"flash": payload["calls"]}
    assert path.with_suffix(".html").read_text(encoding="utf-8").count("cut off:") >= 1
    assert "a run was cut off" in mortal.log()
    assert running(mortal) == []


def test_a_run_that_ends_leaves_nothing_beside_its_report(mortal):
    mortal.run(single("flash", "whole", steps=3))

    assert len(mortal.files("whole/report", ".json")) == 1
    assert running(mortal) == []
    kill(mortal)
    mortal.start()
    assert len(mortal.files("whole/report", ".json")) == 1
