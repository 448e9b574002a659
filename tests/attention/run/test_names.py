from __future__ import annotations

import gc
import sys
import threading
import types
import weakref

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.functional_tensor import FunctionalTensor, FunctionalTensorMode
from wanattn.attention.run.follow import entered
from wanattn.attention.run.forward import Forward
from wanattn.attention.run.names import CALLER, Names, StandIn


def attention(q):
    return q


def handled(forward, function, args, kwargs, foreign):
    forward.calls += 1
    return ("handled", function(*args, **kwargs), foreign)


@pytest.fixture
def importer(monkeypatch):
    """A module that has imported the function under a name of its own."""
    module = types.ModuleType("somebody.model")
    module.optimized = attention
    monkeypatch.setitem(sys.modules, "somebody.model", module)
    return module


@pytest.fixture
def names():
    return Names({attention: handled}, "wanattn")


def test_a_name_leads_to_the_handler_within_a_forward_and_is_put_back(importer, names):
    with names.led():
        assert importer.optimized(1) == 1  # nobody watches here
        with entered(Forward()):
            assert importer.optimized(1) == ("handled", 1, False)
    assert importer.optimized is attention


def test_a_call_that_is_under_way_is_not_counted_again(importer, names):
    forward = Forward(inside=True)
    with names.led(), entered(forward):
        assert importer.optimized(1) == 1
    assert forward.calls == 0


def test_other_threads_go_straight_through(importer, names):
    found = []
    with names.led(), entered(Forward()):
        thread = threading.Thread(target=lambda: found.append(importer.optimized(1)))
        thread.start()
        thread.join()
    assert found == [1]


def test_the_names_stay_until_the_last_forward_is_over(importer, names):
    with names.led():
        with names.led():
            pass
        assert isinstance(importer.optimized, StandIn)
    assert importer.optimized is attention


def test_what_another_put_there_is_told_apart_and_left_in_its_place(importer, names):
    def sparse(q):
        return -q

    with names.led():
        pass
    importer.optimized = sparse
    with names.led(), entered(Forward()):
        assert importer.optimized(1) == ("handled", -1, True)
    assert importer.optimized is sparse


def test_what_is_put_there_meanwhile_stays(importer, names):
    def late(q):
        return q

    with names.led():
        importer.optimized = late
    assert importer.optimized is late


def test_a_stand_in_looks_like_what_it_stands_for(importer, names):
    attention.__wrapped__ = "what it wraps"
    try:
        with names.led():
            assert importer.optimized.__name__ == "attention"
            assert importer.optimized.__wrapped__ == "what it wraps"
    finally:
        del attention.__wrapped__


def test_an_error_in_a_forward_puts_every_name_back(importer, names):
    with pytest.raises(ZeroDivisionError), names.led(), entered(Forward()):
        raise ZeroDivisionError
    assert importer.optimized is attention


@pytest.mark.parametrize("module", ["ours", "ours.run.part"])
def test_modules_of_our_own_keep_their_names(monkeypatch, module):
    own = types.ModuleType(module)
    own.optimized = attention
    monkeypatch.setitem(sys.modules, module, own)

    with Names({attention: handled}, "ours").led():
        assert not isinstance(own.optimized, StandIn)


class Answering(StandIn):
    """As a class that has calls of its own to tell apart."""

    __slots__ = ()

    def __call__(self, *args, **kwargs):
        return self.answer(args, kwargs)


@pytest.mark.parametrize("kind", [StandIn, Answering])
def test_a_handler_knows_how_far_up_its_caller_is(importer, kind):
    def handler(*_):
        return sys._getframe(CALLER)

    names = Names({attention: handler}, "wanattn", stand_in=kind)
    with names.led(), entered(Forward()):
        assert importer.optimized(1) is sys._getframe()


def test_what_stands_in_the_place_of_a_function_is_named(importer, names):
    with names.led():
        assert names.foreign() == []
    importer.optimized = print

    assert names.foreign() == [("somebody.model.optimized", print)]
    with names.led():
        assert names.foreign() == []  # what stands there now is ours


def test_a_name_that_is_gone_stays_away(importer, names):
    with names.led():
        pass
    del importer.optimized

    with names.led():
        assert not hasattr(importer, "optimized")
    assert names.foreign() == []


@pytest.mark.parametrize("foreign", [False, True])
def test_a_call_that_comes_through_the_hook_by_itself_goes_straight_there(importer, foreign):
    """Not one of a function that another pack has put there: it need not know of the hook."""

    def hooked(q, options=None):
        return q

    importer.optimized = hooked
    known = Names({hooked: handled}, "wanattn", hook=("options", "override"))
    with known.led():
        pass
    if foreign:
        importer.optimized = lambda q, options=None: q
    forward = Forward()
    with known.led(), entered(forward):
        importer.optimized(1, options={"override": 1})

    assert forward.calls == foreign


def hollow(kind):
    with FakeTensorMode():
        q = torch.empty(2)
    with FunctionalTensorMode():
        return q if kind == "fake" else FunctionalTensor.to_functional(q)


@pytest.mark.parametrize("kind", ["fake", "functional"])
@pytest.mark.parametrize("named", [False, True])
def test_what_a_compiler_traces_within_a_forward_is_no_call_of_the_model(
    importer, names, named, kind
):
    forward, q = Forward(), hollow(kind)
    with names.led(), entered(forward):
        result = importer.optimized(q=q) if named else importer.optimized(q)

    assert result is q and forward.calls == 0


def test_within_a_run_the_names_lead_on_and_are_put_back_at_its_end(importer, names):
    with pytest.raises(ZeroDivisionError), names.kept():
        assert importer.optimized is attention  # no forward yet
        with names.led():
            first = importer.optimized
        assert importer.optimized is first  # between two forwards
        assert importer.optimized(1) == 1  # where nobody watches
        raise ZeroDivisionError
    assert importer.optimized is attention


@pytest.mark.parametrize("first", [0, 1])
def test_the_last_of_several_runs_puts_them_back_whichever_it_is(importer, names, first):
    runs = [names.kept(), names.kept()]
    for run in runs:
        run.__enter__()
    with names.led():
        runs[first].__exit__(None, None, None)
    assert isinstance(importer.optimized, StandIn)
    with names.led():
        runs[1 - first].__exit__(None, None, None)
        assert isinstance(importer.optimized, StandIn)  # a forward is under way
    assert importer.optimized is attention


def test_what_is_put_there_between_two_forwards_of_a_run_is_led_and_stays(importer, names):
    def sparse(q):
        return -q

    with names.kept():
        with names.led():
            pass
        kept, importer.optimized = importer.optimized, sparse
        with names.led(), entered(Forward()):
            assert importer.optimized(1) == ("handled", -1, True)
        importer.optimized = kept  # as packs do that take themselves off again
        with names.led(), entered(Forward()):
            assert importer.optimized(1) == ("handled", 1, False)
        importer.optimized = sparse
    assert importer.optimized is sparse


def test_what_came_across_a_stand_in_and_puts_it_back_later_leaves_nothing_behind(importer, names):
    with names.kept(), names.led():
        kept = importer.optimized
    importer.optimized = kept
    assert importer.optimized(1) == 1

    with names.kept(), names.led(), entered(Forward()):
        assert importer.optimized(1) == ("handled", 1, False)
    assert importer.optimized is attention


@pytest.mark.parametrize("when", ["between", "last"])
def test_a_module_that_is_loaded_meanwhile_is_found_and_keeps_nothing_of_ours(
    importer, names, monkeypatch, when
):
    late = types.ModuleType("somebody.late")
    with names.kept():
        with names.led():
            late.borrowed = importer.optimized
            monkeypatch.setitem(sys.modules, "somebody.late", late)
        if when == "between":
            with names.led(), entered(Forward()):
                assert late.borrowed(1) == ("handled", 1, False)
    assert late.borrowed is attention


def test_functions_that_are_gone_are_let_go_of(importer, names):
    class Sparse:
        def __call__(self, q):
            return q

    alive = []
    with names.kept():
        for _ in range(3):
            importer.optimized = Sparse()
            alive.append(weakref.ref(importer.optimized))
            with names.led():
                pass
        importer.optimized = attention
        with names.led():
            pass
    gc.collect()
    assert [each() for each in alive] == [None] * 3


def test_names_that_two_accounts_know_are_left_as_they_were(importer, names):
    other = Names({attention: handled}, "wanattn")
    with names.kept(), names.led():
        with other.kept(), other.led(), entered(Forward()):
            assert importer.optimized(1) == ("handled", 1, False)
        assert isinstance(importer.optimized, StandIn)
    assert importer.optimized is attention
    with other.led():
        pass
    assert importer.optimized is attention
