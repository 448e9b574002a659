"""Calls past the hook, one at a time: which are taken, and what is told of each."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

Q, K, V = torch.randn(3, 1, 6, 8).unbind()  # B N HD
MASK = torch.tensor([0.0, 0.0, 0.0, float("-inf"), 0.0, 0.0]).expand(6, 6)
APART = [each.view(1, 6, 2, 4).transpose(1, 2) for each in (Q, K, V)]  # B H N D

THEIRS = torch.full((1, 6, 8), 7.0)


def theirs(*args, **kwargs):
    return THEIRS


theirs.__module__ = "otherpack.kernels"


@pytest.fixture
def host(comfy, monkeypatch):
    """The host's module; what is put into it is taken out again."""
    import comfy.ldm.modules.attention as host

    monkeypatch.setattr(host, "attention_pytorch", host.attention_pytorch)
    return host


@pytest.fixture
def names(host):
    from wanattn.nodes.host.run.past import names

    return names()


@pytest.fixture
def forward(comfy):
    """One whose calls `math` takes."""
    from wanattn.attention.choose.policy import Policy
    from wanattn.attention.record.recorder import Recorder
    from wanattn.attention.run.dispatch import Dispatcher
    from wanattn.attention.run.forward import Forward

    def forward(taken=True, takes_over=False, **facts):
        recorder = Recorder()
        recorder.begin(None, 1)
        taker = Dispatcher(Policy("math"), takes_over=takes_over) if taken else None
        return Forward(recorders=[recorder], taker=taker, **facts)

    return forward


@pytest.fixture
def asked(host, names):
    """Calls the host's function by its name during a forward; gives the result and what was recorded."""
    from wanattn.attention.run.follow import entered

    def asked(forward, *args, **kwargs):
        with names.led(), entered(forward):
            result = host.attention_pytorch(*args, **kwargs)
        return result, [record for _, record in forward.recorders[0].snapshot().calls]

    return asked


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((Q, K, V, 2), {}),
        ((Q, K, V), {"heads": 2}),
        ((Q, K, V, 2, MASK), {}),
        ((Q, K, V), {"heads": 2, "mask": MASK}),
        ((Q, K, V, 2), {"mask": MASK}),
        ((Q, K, V, 2, MASK, None), {}),
        ((*APART, 2), {"skip_reshape": True}),
        ((*APART, 2, MASK), {"skip_reshape": True, "skip_output_reshape": True}),
        ((*APART, 2, None, None, True), {"skip_output_reshape": True}),
    ],
)
def test_a_call_is_taken_however_it_is_written(host, asked, forward, args, kwargs):
    expected = host.attention_pytorch(*args, **kwargs)

    result, (record,) = asked(forward(), *args, **kwargs)

    torch.testing.assert_close(result, expected)
    assert (record.requested, record.active, record.call.heads) == ("math", "math", 2)
    assert (record.call.q_len, record.call.kv_len, record.call.head_dim) == (6, 6, 4)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((Q, K, V), {}),
        ((Q, K, V, "2"), {}),
        ((Q, K), {"v": V, "heads": 2}),
        ((Q,), {"k": K, "v": V, "heads": 2}),
        ((), {"q": Q, "k": K, "v": V, "heads": 2}),
        ((Q, K, [V], 2), {}),
        ((Q, [K], V, 2), {}),
        ((Q[0], K[0], V[0], 2), {}),
        ((Q[None, None], K[None, None], V[None, None], 2), {}),
    ],
)
def test_what_is_no_call_as_the_host_makes_them_goes_where_it_was_going(
    host, names, asked, forward, monkeypatch, args, kwargs
):
    with names.led():
        pass
    monkeypatch.setattr(host, "attention_pytorch", theirs)

    result, told = asked(forward(takes_over=True), *args, **kwargs)

    assert result is THEIRS and told == []


def test_a_forward_that_nobody_takes_calls_of_is_left_alone(host, asked, forward):
    result, told = asked(forward(taken=False), Q, K, V, 2)

    assert torch.equal(result, host.attention_pytorch(Q, K, V, 2)) and told == []


@pytest.mark.parametrize("takes_over", [True, False])
def test_a_function_in_the_place_of_the_hosts_keeps_its_calls_unless_they_are_taken_over(
    host, names, asked, forward, monkeypatch, takes_over
):
    expected = host.attention_pytorch(Q, K, V, 2)
    with names.led():
        pass
    monkeypatch.setattr(host, "attention_pytorch", theirs)

    result, (record,) = asked(forward(takes_over=takes_over), Q, K, V, 2)

    told = (record.requested, record.active, record.reason, record.via)
    via = "attention function replaced by otherpack"
    if takes_over:
        torch.testing.assert_close(result, expected)
        assert told == ("math", "math", "", via)
    else:
        left = "otherpack keeps its own attention there"
        assert result is THEIRS
        assert told == ("host", "kernels.theirs", left, via)


@pytest.mark.parametrize("takes_over", [True, False])
def test_the_place_of_a_call_is_told(asked, forward, takes_over):
    from wanattn.attention.run.site import Site

    module = torch.nn.Linear(1, 1)
    site = Site(module, "blocks.3.cross_attn", "audio", 3, (), ("comfy",))

    _, (inside,) = asked(forward(takes_over=takes_over, sites=[(site, 0)]), Q, K, V, 2)
    _, (outside,) = asked(forward(takes_over=takes_over), Q, K, V, 2)

    assert (inside.call.role, inside.block) == ("audio", 3)
    assert inside.via == "Linear passes no options on"
    assert (outside.call.role, outside.block) == ("self", None)
    assert outside.via == "made outside the modules that are known"
    assert inside.reason == outside.reason == ""


def test_our_own_modules_keep_the_functions_that_they_imported(host, forward, monkeypatch):
    """They are what a call ends with; every other module's names lead past the account."""
    from wanattn.nodes.host.run import past

    plain, other = host.attention_pytorch, ModuleType("otherpack_kernels")
    other.imported = plain
    monkeypatch.setitem(sys.modules, other.__name__, other)
    monkeypatch.setattr(past, "imported", plain, raising=False)
    with past.names().led():
        found = past.imported, other.imported

    assert found[0] is plain and found[1] is not plain
    assert other.imported is plain
