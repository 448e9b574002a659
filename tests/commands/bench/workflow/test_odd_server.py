"""Whatever a server answers, a benchmark ends with a result or with a sentence that anybody may see."""

from __future__ import annotations

import argparse
import asyncio
import json
import traceback

import pytest

pytest.importorskip("aiohttp", reason="aiohttp not installed")

from wanattn.bench.results import file
from wanattn.bench.results.row import Results
from wanattn.commands.bench.workflow import answers, command, runner, runs, server
from wanattn.commands.bench.workflow.plan import Plan
from wanattn.tests.commands.bench.workflow.flows import plain
from wanattn.tests.commands.bench.workflow.odd_server import PASSWORD, OddServer

MOST_LETTERS = 4000  # of an ending: eight reasons of a node at most
VARIANTS = 2000
SERVERS = 4  # side by side: one runs while another is waited for


class Quiet:
    def begin(self, total):
        pass

    def advance(self, units, what):
        pass


@pytest.fixture
def hasty(monkeypatch):
    """No server is waited for long."""
    monkeypatch.setattr(server, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(answers, "MOST_BYTES", 200_000)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(runner, "IDLE_SECONDS", 0.05)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(plain()), encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = parser.parse_args(["--workflow", str(path), "--backends", "host", "--timeout", "0.3"])
    for name in ("seed", "settings", "against"):
        setattr(options, name, None)
    options.repeat = 0  # the first run is enough

    def plan(url):
        options.url = url
        return Plan.of(options)

    return plan


async def ending(plan, url):
    """How a benchmark ended, and what it found."""
    results = Results("workflow", {})
    try:
        await asyncio.wait_for(runs.measure(plan(url), results, Quiet()), 20)
    except (ValueError, RuntimeError) as error:
        told = "".join(traceback.format_exception(error))
        assert PASSWORD not in told, told
        return str(error), results
    return "", results


def test_a_faithful_server_gives_a_result(plan, hasty):
    async def go():
        async with OddServer() as odd:
            return await ending(plan, odd.url)

    said, results = asyncio.run(go())

    assert said == ""
    assert (results.rows[0].part, results.rows[0].first) == ("run", 2000.0)


def test_thousands_of_odd_answers_end_in_sentences(plan, hasty):
    async def of(seeds):
        endings = []
        async with OddServer() as odd:
            for seed in seeds:
                odd.odd(seed)
                said, results = await ending(plan, odd.url)
                assert len(said) <= MOST_LETTERS, (seed, said)
                assert "\n" not in said, (seed, said)
                json.dumps(file.plain(results), allow_nan=False)
                endings.append(said)
            assert odd.elsewhere == []
        return endings

    async def go():
        parts = [of(range(first, VARIANTS, SERVERS)) for first in range(SERVERS)]
        return [said for part in await asyncio.gather(*parts) for said in part]

    endings = asyncio.run(go())

    assert len(endings) == VARIANTS
    assert 100 < sum(not said for said in endings) < VARIANTS - 100  # both ways were gone
    assert len(set(endings)) > 20


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["system_stats", "prompt", "ws"])
def test_nothing_is_sent_where_a_server_sends_us_on_to(plan, hasty, status, place):
    from aiohttp import web

    class SendsOn(OddServer):
        async def _answer(self, request):
            if request.path == f"/{place}":
                raise self._on()
            return await super()._answer(request)

        async def _listen(self, request):
            if place == "ws":
                raise self._on()
            return await super()._listen(request)

        def _on(self):
            found = {one.status_code: one for one in REDIRECTS}
            return found[status]("/elsewhere")

    REDIRECTS = (
        web.HTTPMovedPermanently,
        web.HTTPFound,
        web.HTTPSeeOther,
        web.HTTPTemporaryRedirect,
        web.HTTPPermanentRedirect,
    )

    async def go():
        async with SendsOn() as odd:
            said, _ = await ending(plan, odd.url)
            return said, odd.elsewhere

    said, elsewhere = asyncio.run(go())

    assert f"sends /{place} on to another address (status {status})" in said
    assert elsewhere == []


def test_a_server_that_drips_is_given_up(plan, hasty):
    class Drips(OddServer):
        async def _answer(self, request):
            from aiohttp import web

            answer = web.StreamResponse()
            await answer.prepare(request)
            for _ in range(100):
                await answer.write(b" ")
                await asyncio.sleep(0.05)
            return answer

    async def go():
        async with Drips() as odd:
            return await ending(plan, odd.url)

    said, _ = asyncio.run(go())

    assert "gave no answer in" in said


@pytest.mark.parametrize(
    "address",
    [
        f"me:{PASSWORD}@box:port",
        f"http://me:{PASSWORD}@box:99999",
        f"http://me:{PASSWORD}@",
        f"ftp://me:{PASSWORD}@box",
        f"me:{PASSWORD}/x@box:99999",
        f"http://me:{PASSWORD}@[::1",
        f"http://me:{PASSWORD}@127.0.0.1:9",
        f"https://me:{PASSWORD}@127.0.0.1:9/?token={PASSWORD}",
    ],
)
def test_no_password_is_told(plan, hasty, address):
    said, _ = asyncio.run(ending(plan, address))

    assert said
    assert PASSWORD not in said


def test_the_longest_reason_is_cut_to_what_people_read():
    assert len(answers.said("x" * 5000)) < 310
    assert answers.said(" two\n lines ") == "two lines"


@pytest.mark.parametrize(
    "depth, fits", [(answers.MOST_DEPTH, True), (answers.MOST_DEPTH + 1, False)]
)
def test_depth_has_a_limit(depth, fits):
    text = "[" * depth + "]" * depth
    if fits:
        assert answers.parsed(text) is not None
    else:
        with pytest.raises(answers.Odd, match="nested deeper"):
            answers.parsed(text)
