"""`wanattn bench workflow` that ends early, is cut off or meets other jobs: the rows so far kept, nothing left behind."""

import asyncio
import contextlib
import os
import signal
import threading

import pytest
from wanattn.commands.bench.workflow import runner
from wanattn.commands.bench.workflow import server as connection
from wanattn.tests.host.bench import SMALL, bench, idle, saved, times, when
from wanattn.tests.host.graph import single
from wanattn.tests.host.relay import Relay
from wanattn.tests.host.server import wait_until

LONG = 500  # steps of a run that somebody ends


@pytest.fixture
def workflow(tmp_path):
    return saved(tmp_path, single(None, "ended"))


@contextlib.contextmanager
def long_job(server):
    """Another client's run."""
    prompt_id = server.queue(single(None, "other", steps=LONG), "another")
    wait_until(
        lambda: any(item[1] == prompt_id for item in server.get("/queue")["queue_running"]),
        60,
        lambda: server.get("/queue"),
    )
    yield prompt_id
    server.post("/interrupt", {"prompt_id": prompt_id})
    server.wait(prompt_id)


class TestOtherJobs:
    def test_are_not_measured_beside_nor_touched(self, server, workflow, monkeypatch):
        monkeypatch.setattr(runner, "IDLE_SECONDS", 1.0)
        with long_job(server) as prompt_id:
            error = bench(server.address, workflow).error
            running = [item[1] for item in server.get("/queue")["queue_running"]]

        assert isinstance(error, RuntimeError)
        assert "another job" in str(error)
        assert running == [prompt_id]

    def test_stay_when_ours_is_withdrawn_from_behind_them(self, server):
        with long_job(server) as other:
            ours = server.queue(single(None, "ours", steps=LONG), "bench")

            async def withdraw():
                async with connection.Server(server.address) as asked:
                    await asked.withdraw(ours)

            asyncio.run(withdraw())
            queue = server.get("/queue")
        assert [item[1] for item in queue["queue_running"]] == [other]
        assert queue["queue_pending"] == []

    def test_say_when_ours_was_deleted(self, server, workflow, monkeypatch):
        monkeypatch.setattr(runner, "POLL_SECONDS", 0.2)
        monkeypatch.setattr(runner.Runner, "_idle", lambda _: asyncio.sleep(0))
        with long_job(server) as other:

            def delete():
                wait_until(lambda: server.get("/queue")["queue_pending"], 30, lambda: "none")
                (ours,) = [item[1] for item in server.get("/queue")["queue_pending"]]
                server.post("/queue", {"delete": [ours]})

            helper = threading.Thread(target=delete)
            helper.start()
            error = bench(server.address, workflow).error
            helper.join()
        assert other and "taken out of the queue" in str(error)


class TestEndings:
    def test_ctrl_c_stops_our_run_and_keeps_the_rows(self, server, tmp_path):
        path = saved(tmp_path, single(None, "ctrl_c", steps=40))
        before = set(server.get("/history"))
        stop = when("host 5f 3/3 step 2", lambda: os.kill(os.getpid(), signal.SIGINT))
        outcome = bench(server.address, path, *SMALL, "--backends", "auto,host", told=stop)

        assert isinstance(outcome.error, KeyboardInterrupt)
        assert times(outcome) == {"auto": 1, "host": 1}
        wait_until(lambda: idle(server), 30, lambda: server.get("/queue"))
        records = [value for key, value in server.get("/history").items() if key not in before]
        ends = [record["status"]["messages"][-1][0] for record in records]
        assert ends == ["execution_success"] * 4 + ["execution_interrupted"]

    def test_a_progress_that_raises_stops_our_run(self, server, tmp_path):
        def fail():
            raise OSError("disk full")

        path = saved(tmp_path, single(None, "raises", steps=LONG))
        outcome = bench(server.address, path, *SMALL, told=when("step 2", fail))

        assert str(outcome.error) == "disk full"
        wait_until(lambda: idle(server), 30, lambda: server.get("/queue"))

    def test_silence_ends_the_run(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(runner, "POLL_SECONDS", 0.1)
        with Relay(server.address) as relay:
            path = saved(tmp_path, single(None, "silent", steps=LONG))
            error = bench(relay.address, path, "--timeout", "0.001").error

        assert isinstance(error, RuntimeError)
        assert "--timeout" in str(error)
        wait_until(lambda: idle(server), 30, lambda: server.get("/queue"))

    def test_a_connection_that_is_cut_once_is_made_again(self, server, tmp_path):
        with Relay(server.address) as relay:
            path = saved(tmp_path, single(None, "cut", steps=20))
            outcome = bench(relay.address, path, *SMALL, told=when("auto 5f 2/3 step 2", relay.cut))

        assert outcome.error is None
        assert times(outcome) == {"host": 2, "auto": 2}
        sampler = outcome.rows("KSamplerAdvanced 5")
        assert {backend: len(row.times) for backend, row in sampler.items()} == {
            "host": 2,
            "auto": 1,
        }

    def test_a_server_that_goes_away_is_named(self, server, tmp_path):
        with Relay(server.address) as relay:
            path = saved(tmp_path, single(None, "gone", steps=20))
            outcome = bench(
                relay.address, path, *SMALL, told=when("auto 5f 2/3 step 2", relay.refuse)
            )

        assert isinstance(outcome.error, RuntimeError)
        assert f"no server at http://{relay.address}" in str(outcome.error)
        assert times(outcome) == {"host": 1, "auto": 0}
        wait_until(lambda: idle(server), 60, lambda: server.get("/queue"))
