"""Another pack in the attention override slot."""

from collections import Counter

import pytest
import torch
from wanattn.tests.host.sampling import CALLS, sample


class Other:
    """Another pack's override; its effect on the result is easy to see."""

    def __init__(self):
        self.calls = 0

    def install(self, model):
        model = model.clone()

        def halved_attention(func, *args, **kwargs):
            self.calls += 1
            return func(*args, **kwargs) * 0.5

        options = model.model_options["transformer_options"]
        options["optimized_attention_override"] = halved_attention
        return model


@pytest.fixture
def other():
    return Other()


def test_host_leaves_the_call_to_the_other_override(load, workbench, other):
    model = other.install(load("t2v"))
    alone = sample(model)
    other.calls = 0
    patched = workbench.backend(model, "host")

    assert torch.equal(sample(patched), alone)
    report = workbench.report(patched)
    assert other.calls == report.payload["calls"] == len(report.lines)
    assert not torch.equal(alone, sample(load("t2v")))


def test_diagnostics_names_the_other_override_and_lets_it_run(load, workbench, other):
    model = other.install(load("t2v"))
    alone = sample(model)
    patched = workbench.diagnostics(model)

    assert torch.equal(sample(patched), alone)
    assert "halved_attention" in workbench.report(patched).text


def test_replaced_override_is_named(load, workbench, other):
    patched = workbench.backend(other.install(load("t2v")), "flash")

    latent = sample(patched)

    report = workbench.report(patched)
    assert other.calls == 0
    torch.testing.assert_close(latent, sample(load("t2v")), rtol=1e-4, atol=1e-4)
    assert any("halved_attention" in note for note in report.payload["notes"])
    assert "halved_attention" in report.text


def test_override_installed_after_us_keeps_its_say(load, workbench, other):
    patched = other.install(workbench.backend(load("t2v"), "flash"))

    sample(patched)

    assert other.calls == CALLS


def relayed(model):
    """Another pack that hands every call to whoever had the slot before it."""
    model = model.clone()
    options = model.model_options["transformer_options"]
    previous = options["optimized_attention_override"]
    options["optimized_attention_override"] = lambda *args, **kwargs: previous(*args, **kwargs)
    return model


@pytest.mark.parametrize("between", [lambda model: model, relayed])
def test_a_call_passed_on_to_another_of_our_nodes_keeps_its_role(load, workbench, between):
    """Where the latent is as long as the text, only the order tells the roles."""
    model = between(workbench.backend(load("t2v"), "math"))
    patched = workbench.backend(model, "host", at="11")

    sample(patched, latent=torch.zeros(1, 16, 2, 32, 32))  # 2 x 16 x 16 = 512 tokens

    report = workbench.report(patched)
    assert report.counts("role", "active") == {("self", "math"): 4, ("text", "math"): 4}


def asked_twice(model, mix):
    """Another pack that asks ours, then the host's function, and gives the model what `mix` makes of both."""
    model = model.clone()
    options = model.model_options["transformer_options"]
    previous = options["optimized_attention_override"]

    def asked_twice_attention(func, *args, **kwargs):
        return mix(previous(func, *args, **kwargs), func, *args, **kwargs)

    options["optimized_attention_override"] = asked_twice_attention
    return model


def host_instead(ours, func, *args, **kwargs):
    return func(*args, **kwargs)


def host_added(ours, func, *args, **kwargs):
    return ours + func(*args, **kwargs)


@pytest.mark.parametrize("backend", ["math", "host"])
@pytest.mark.parametrize("mix", [host_instead, host_added])
@pytest.mark.parametrize("watched", [False, True])
def test_an_override_that_asks_ours_and_then_the_hosts(load, workbench, mix, backend, watched):
    from wanattn.tests.host.account import assert_told
    from wanattn.tests.host.counting import Counting

    patched = asked_twice(workbench.backend(load("t2v"), backend), mix)
    patched = workbench.diagnostics(patched) if watched else patched
    with Counting(patched) as counting:
        sample(patched)

    report = workbench.report(patched)
    kernel = "math" if backend == "math" else "flash"
    assert counting.counts("kernel") == Counter([("flash",)] * CALLS + [(kernel,)] * CALLS)
    facts = (
        "role",
        "block",
        "step",
        "kernel",
    )  # of what is nested the profiler sees the outer call
    assert_told(report, counting, *facts[: 4 if backend == "math" else 3])
    assert set(report.payload["totals"]) <= {kernel, "flash", "pytorch"}
    reasons = Counter("ran this beside" in line["reason"] for line in report.lines)
    assert reasons == {True: CALLS, False: CALLS}
    assert "gives the model something else than it gave" in report.text


def test_an_override_that_changes_what_ours_gave_is_said_and_not_counted_twice(load, workbench):
    def halved(ours, func, *args, **kwargs):
        return ours * 0.5

    patched = asked_twice(workbench.backend(load("t2v"), "math"), halved)
    sample(patched)

    report = workbench.report(patched)
    assert report.payload["totals"] == {"math": CALLS}
    assert "gives the model something else than it gave" in report.text


@pytest.mark.parametrize(
    ("device", "wish", "on_refusal", "left"),
    [
        ("meta", "auto", "stop", "torch's kernels cannot be chosen one by one on meta"),
        ("meta", "auto", "next best", "torch's kernels cannot be chosen one by one on meta"),
        ("meta", "flash", "next best", "torch's kernels cannot be chosen one by one on meta"),
        ("mps", "auto", "next best", "auto has nothing to choose from on mps"),
        ("meta", "flash", "stop", None),
    ],
)
def test_devices_without_a_choice_are_left_to_the_host(
    comfy, monkeypatch, device, wish, on_refusal, left
):
    from wanattn.attention import Dispatcher, NoBackend, Policy, Recorder
    from wanattn.attention.choose import policy
    from wanattn.nodes.host import override as overriding

    def plain(q, *rest, **named):
        return q

    plain.__module__ = "comfy.ldm.modules.attention"  # one of the host's own
    if device == "mps":  # there is none here: another name for a device that torch makes anywhere
        monkeypatch.setattr(policy, "CHOOSABLE", ("cpu", "cuda", "meta"))
    recorder = Recorder()
    dispatcher = Dispatcher(Policy(wish, on_refusal))
    override = overriding.Override(recorder, None, dispatcher)
    q = torch.empty(1, 64, 256, device="meta")

    if left is None:
        with pytest.raises(NoBackend, match="does not exist on meta"):
            override(plain, q, q, q, 2)
        return
    assert override(plain, q, q, q, 2) is q
    ((_, record),) = recorder.snapshot().calls
    assert record.reason == left.replace("mps", "meta")
