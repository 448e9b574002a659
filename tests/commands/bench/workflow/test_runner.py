"""One run of a workflow: given up as soon as it is known that no model of it is Wan."""

import argparse
import asyncio

import pytest

pytest.importorskip("aiohttp", reason="aiohttp not installed")

from wanattn.commands.bench.workflow.runner import Runner
from wanattn.commands.bench.workflow.server import Server
from wanattn.commands.bench.workflow.wiring import wire
from wanattn.tests.commands.bench.workflow.flows import CLASSES, graph, plain

SDXL, WAN = {"class": "SDXL", "wan": False}, {"class": "WAN21", "wan": True}


class Scripted:
    """A server whose diagnostics report these models one after the other, and whose run then succeeds."""

    name, client_id = "http://box", "c"
    read, sense = Server.read, Server.sense

    def __init__(self, *models):
        self._models, self.withdrawn = models, False
        self._events = iter(())

    async def post(self, path, body):
        self._id = body["prompt_id"]
        self._events = self._script(body["prompt"])
        return 200, {"prompt_id": self._id}

    def _script(self, prompt):
        nodes = [key for key, node in prompt.items() if node["class_type"] == "WanAttnDiagnostics"]
        yield self._own("execution_start")
        yield self._own("executing", node="4")
        for node, model in zip(nodes, self._models, strict=False):
            yield {"type": "wanattn.update", "data": {"node": node, "model": model}}
        yield self._own("execution_success")

    def _own(self, kind, **data):
        return {"type": kind, "data": {"prompt_id": self._id, **data}}

    async def event(self, seconds):
        event = next(self._events, None)
        return event and (1.0, event)

    async def jobs(self):
        return [], []

    async def get(self, path):
        stamps = [["execution_start", {"timestamp": 0}], ["execution_success", {"timestamp": 9000}]]
        return {self._id: {"status": {"messages": stamps}}}

    async def withdraw(self, prompt_id):
        self.withdrawn = prompt_id == self._id


def run(server, prompt, any_model=False):
    plan = argparse.Namespace(timeout=60.0, any_model=any_model)
    runner = Runner(server, CLASSES, plan, lambda trial: None)
    return asyncio.run(runner.run(wire(prompt, CLASSES), "host", "a-1"))


def two():
    return plain() | graph(
        n6=("UNETLoader", {"unet_name": "low.safetensors"}),
        n7=("KSampler", {"model": ["6", 0], "latent_image": ["4", 0]}),
    )


def test_first_report_of_another_model_ends_the_run():
    server = Scripted(SDXL)

    with pytest.raises(ValueError, match=r"model is SDXL, needs a Wan model: .* --any-model"):
        run(server, plain())

    assert server.withdrawn


def test_another_model_before_a_wan_model_does_not():
    server = Scripted(SDXL, WAN)
    assert len(run(server, two()).payloads) == 2
    assert not server.withdrawn


def test_two_other_models_end_it_when_the_second_one_starts():
    server = Scripted(SDXL, {"class": "Flux", "wan": False})
    with pytest.raises(ValueError, match="model is SDXL, Flux, needs"):
        run(server, two())
    assert server.withdrawn


def test_report_that_never_comes_is_not_waited_for():
    """Nothing asks for the second sampler."""
    server = Scripted(SDXL)
    with pytest.raises(ValueError, match="model is SDXL, needs"):
        run(server, two())
    assert not server.withdrawn


def test_any_model_is_run_if_asked():
    server = Scripted(SDXL)
    assert run(server, plain(), any_model=True).duration == 9.0
    assert not server.withdrawn


class Late(Scripted):
    """A run that ends between two polls: its record is there before what was sent of it is read."""

    def __init__(self, *models, lost=False):
        super().__init__(*models)
        self._lost = lost

    def _script(self, prompt):
        start, *rest = super()._script(prompt)
        yield start
        yield None
        if not self._lost:
            yield self._own("executing", node="1")
            yield from rest


def test_a_run_that_ends_between_two_polls_is_heard_out():
    server = Late(WAN)
    trial = run(server, plain())

    assert trial.end == "execution_success" and trial.duration == 9.0
    assert trial.payloads and trial.whole and set(trial.seconds) == {"1", "4"}
    assert not server.withdrawn


def test_a_run_whose_events_never_come_goes_by_the_record():
    trial = run(Late(WAN, lost=True), plain())

    assert trial.duration == 9.0 and not trial.whole and not trial.seconds
