"""Another pack in the attention override slot."""

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
