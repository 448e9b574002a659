from __future__ import annotations

import sys
import weakref

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.follow import calling, entered, followed, running
from wanattn.attention.run.forward import Forward, Unreachable
from wanattn.attention.run.site import Site


def attention(q):
    return q


class Direct(torch.nn.Module):
    def forward(self, x):
        return attention(x)


class ByMethod(torch.nn.Module):
    def forward(self, x):
        return self.attend(x)

    def attend(self, x):
        return [attention(part) for part in x]


class OfTorch(torch.nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


class Overridden(Direct):
    """Its base calls attention, it does not."""

    def forward(self, x):
        return x


def test_modules_that_call_attention_are_found_by_their_code():
    modules = {
        "a": Direct(),
        "b": ByMethod(),
        "c": OfTorch(),
        "d": Overridden(),
        "e": torch.nn.Linear(1, 1),
    }

    assert [name for name, _ in calling(modules.items(), [attention])] == ["a", "b", "c"]


class Holding(Direct):
    """What a class holds may refuse to be asked whether it is there."""

    attention = torch.zeros(2)

    def forward(self, x):
        return attention(x) + self.attention


def test_a_class_that_holds_tensors_is_read_too():
    assert [name for name, _ in calling([("a", Holding())], [attention])] == ["a"]
    assert calling([("a", Holding())], [print]) == []


def test_a_forward_of_its_own_counts_too():
    module = Overridden()
    module.forward = lambda x: attention(x)

    assert [name for name, _ in calling([("a", module)], [attention])] == ["a"]


@pytest.fixture
def silent():
    """A site that makes no call which anybody sees."""
    module = Overridden()
    return Site(module, "blocks.3.self_attn", "self", 3, home=("nobody",))


def test_a_module_that_ran_without_a_call_is_told(silent):
    recorder = Recorder()
    recorder.begin("job", 1)
    with followed([silent]), entered(Forward(recorders=[recorder])) as _:
        silent.module(torch.ones(1))

    (run,) = recorder.snapshot().runs
    ((how, role, ran),) = run.past
    assert (role, ran) == ("self", "") and how.startswith("class replaced by")


def test_a_module_whose_call_was_seen_is_not_told(silent):
    recorder = Recorder()
    recorder.begin("job", 1)
    forward = Forward(recorders=[recorder], strict="flash")

    def seen(x):
        forward.calls += 1
        return x

    silent.module.forward = seen
    with followed([silent]), entered(forward):
        silent.module(torch.ones(1))

    (run,) = recorder.snapshot().runs
    assert not run.past


def test_a_module_that_nobody_watches_runs_as_ever(silent):
    with followed([silent]):
        silent.module(torch.ones(1))
    assert not silent.module._forward_hooks and not silent.module._forward_pre_hooks


def test_a_run_that_must_stop_stops_there(silent):
    with (
        followed([silent]),
        entered(Forward(strict="flash")),
        pytest.raises(Unreachable, match=r"'flash' cannot reach blocks.3.self_attn"),
    ):
        silent.module(torch.ones(1))


def test_an_error_in_a_module_leaves_no_trace_of_it(silent):
    forward = Forward()

    def broken(x):
        raise ZeroDivisionError

    silent.module.forward = broken
    with followed([silent]), entered(forward), pytest.raises(ZeroDivisionError):
        silent.module(torch.ones(1))
    assert forward.sites == []


class Deep(torch.nn.Module):
    """Attention two methods further down, in `Deeper` three."""

    def forward(self, x):
        return self.first(x)

    def first(self, x):
        return self.second(x)

    def second(self, x):
        return attention(x)


class Deeper(Deep):
    def forward(self, x):
        return self.zeroth(x)

    def zeroth(self, x):
        return self.first(x)


class Round(torch.nn.Module):
    def forward(self, x):
        return self.again(x)

    def again(self, x):
        return self.again(x)


def test_methods_are_followed_two_deep_and_no_further():
    modules = [("deep", Deep()), ("deeper", Deeper()), ("round", Round())]

    assert [name for name, _ in calling(modules, [attention])] == ["deep"]


class Part(torch.nn.Module):
    def forward(self, look, above):
        return look(sys._getframe()), look(above)


class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = Part()

    def forward(self, look):
        return self.part(look, sys._getframe())


def test_the_innermost_module_is_found_from_a_frame_upwards():
    whole = Whole()
    known = {id(module): name for name, module in whole.named_modules(prefix="whole")}
    assert whole(lambda frame: running(known, frame)) == ("whole.part", "whole")
    assert whole(lambda _: running(known)) == ("whole.part", "whole.part")
    assert running(known, sys._getframe()) == ""


class Within(torch.nn.Module):
    """Asks where it runs, and has another ask within it."""

    def __init__(self, modules, inner=None):
        super().__init__()
        self.modules_known, self.inner = modules, inner

    def forward(self, x):
        first = x[0] if isinstance(x, list) else x  # a local that is no module comes before
        found = [running(self.modules_known)]
        return found + self.inner(first) + found if self.inner else found


def test_the_innermost_of_modules_within_one_another_is_the_one_that_runs():
    modules = {}
    outer = Within(modules, Within(modules))
    modules |= {id(outer): "outer", id(outer.inner): "inner"}

    assert outer(1) == ["outer", "inner", "outer"]
    assert outer.inner.forward(1) == ["inner"]  # not only by torch's own way to it
    assert running(modules) == ""


def test_a_look_at_who_runs_keeps_nothing_alive():
    class Holder(torch.nn.Module):
        def forward(self, x):
            held = torch.ones(1)
            seen = weakref.ref(held)
            found = running({id(self): "holder"})
            del held
            return found, seen()

    assert Holder()(1) == ("holder", None)


def test_modules_within_one_another_are_told_each_by_itself():
    class Outer(Overridden):
        def __init__(self):
            super().__init__()
            self.inner = Overridden()

        def forward(self, x):
            return self.inner(x)

    outer, recorder = Outer(), Recorder()
    sites = [Site(outer, "a", "self", 0), Site(outer.inner, "a.inner", "audio", 0)]
    recorder.begin("job", 1)
    forward = Forward(recorders=[recorder])
    with followed(sites), entered(forward):
        outer(torch.ones(1))

    (run,) = recorder.snapshot().runs
    assert sorted(role for _, role, _ in run.past) == ["audio", "self"]
    assert forward.sites == []
