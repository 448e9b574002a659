"""Two cards at once, a thread each as the host has it: every call under its own card, timed there, told once."""

from __future__ import annotations

import functools
import threading

import pytest
import torch
from wanattn.attention.call import Inputs
from wanattn.attention.choose.policy import Policy
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.payload import payload_of
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward, Place
from wanattn.attention.run.given import Split

CARDS = torch.cuda.device_count()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(CARDS < 2, reason=f"{CARDS} CUDA devices, needs 2"),
]
CALLS = 20
SHAPE = (1, 24, 16384, 128)  # B H N D, long enough that the host keeps ahead of both cards


def tensors(card: int) -> Inputs:
    generator = torch.Generator(f"cuda:{card}").manual_seed(7)
    make = functools.partial(torch.randn, SHAPE, device=f"cuda:{card}", generator=generator)
    return Inputs(*(make().bfloat16() for _ in range(3)), None, None)


def nothing(*given):
    raise AssertionError("a call was left to the host")


def on_both(work) -> None:
    """As the host's pool does it: each thread works on the card that it made its own."""
    failures = []

    def thread(card: int) -> None:
        try:
            torch.cuda.set_device(card)
            work(card)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(card,)) for card in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures


@pytest.mark.parametrize("backend", ["flash", "cudnn", "efficient"])
def test_calls_of_two_cards_are_told_apart_and_timed(backend):
    recorder, dispatcher = Recorder(), Dispatcher(Policy(backend))
    run = recorder.begin("job", steps=1)
    results: dict[int, torch.Tensor] = {}

    def work(card: int) -> None:
        inputs = tensors(card)
        call = Split(inputs, functools.partial(nothing))
        dispatcher.run(call, Place("self", 0), Forward())  # what a kernel does once
        forward = Forward(step=0, recorders=[recorder])
        for block in range(CALLS):
            results[card] = dispatcher.run(call, Place("self", block), forward)
            recorder.stopwatch.settle()

    on_both(work)
    torch.cuda.synchronize(0)
    torch.cuda.synchronize(1)
    recorder.end(run, "finished")

    payload = payload_of(recorder.snapshot(), {}, notes=dispatcher.notes)
    assert {device["device"]: device["calls"] for device in payload["devices"]} == {
        "cuda:0": CALLS,
        "cuda:1": CALLS,
    }
    assert payload["totals"] == {backend: 2 * CALLS}
    assert payload["notes"] == []
    for card, device in enumerate(payload["devices"]):
        alone = elapsed(card, backend)
        assert device["milliseconds_total"] == pytest.approx(alone, rel=0.5)
    assert torch.equal(results[0].cpu(), results[1].cpu())


def elapsed(card: int, backend: str) -> float:
    """Milliseconds of as many calls on this card alone."""
    dispatcher, forward, inputs = Dispatcher(Policy(backend)), Forward(), tensors(card)
    call = Split(inputs, functools.partial(nothing))
    run = functools.partial(dispatcher.run, call, Place("self", 0), forward)
    with torch.cuda.device(card):
        run()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(CALLS):
            run()
        end.record()
        end.synchronize()
    return start.elapsed_time(end)
