"""Under whose choices a model's calls come, and what these cost and gained."""

from __future__ import annotations

from wanattn.tests.host.sampling import sample


def chain(workbench, model, *backends):
    for number, backend in enumerate(backends):
        model = workbench.backend(model, backend, at=str(number))
    return model


def test_the_last_backend_that_decides_anything_takes_the_calls(load, workbench):
    from wanattn.nodes.host.expected.taking import taker_of

    model = chain(workbench, load("t2v"), "flash", "math", "cudnn", "host")

    assert taker_of(workbench.diagnostics(model)).dispatcher.policy.backend == "cudnn"


def test_nobody_takes_the_calls_of_a_model_for_which_nothing_is_chosen(load, workbench):
    from wanattn.nodes.host.expected.taking import taker_of

    assert taker_of(load("t2v")) is None
    assert taker_of(workbench.diagnostics(workbench.backend(load("t2v"), "host"))) is None


def test_the_seconds_of_measuring_are_those_since_the_last_look(load, workbench, monkeypatch):
    from wanattn.attention.run.beside import Beside
    from wanattn.nodes.host.expected.taking import Taking

    milliseconds = [400.0]
    monkeypatch.setattr(Beside, "spent", property(lambda beside: milliseconds[0]))
    model = workbench.backend(load("t2v"), "math")

    taking = Taking()
    assert taking.measuring == 0.0
    assert taking.look(model) is taking.dispatcher is not None
    milliseconds[0] = 1900.0
    assert taking.measuring == 1.5
    assert taking.look(model) is taking.dispatcher
    assert taking.measuring == 0.0
    assert taking.look(load("t2v")) is None
    assert taking.measuring == 0.0


def test_a_gain_needs_somebody_who_chose_and_calls_that_ran(load, workbench):
    from wanattn.nodes.host.expected.taking import Taking
    from wanattn.nodes.host.tap import taps

    model = workbench.backend(load("t2v"), "flash")
    sample(model, steps=1)
    (tap,) = taps(model)
    snapshot, taking = tap.recorder.snapshot(), Taking()

    assert taking.gain(snapshot) is None
    taking.look(model)
    assert taking.gain(None) is None
    assert taking.gain(snapshot)["against"] == "ComfyUI's default"
