"""A second model in a sampler run: whose nodes are asked, what the options say meanwhile, and what is told of it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

KEY, SLOT = "wanattn", "optimized_attention_override"
ALONE = "this node neither tells nor changes them"
NODES = "the nodes that are wired to it tell them"


class Net:
    """What a model's forward is told by."""


@pytest.fixture
def others(comfy):
    from wanattn.nodes.host.run.others import Others

    return Others


def theirs(func, *args, **kwargs):
    """Another pack's override."""
    return func(*args, **kwargs)


def patcher(*taps, slot=None, copies=()) -> SimpleNamespace:
    """As much of a patcher as is looked at; None for no nodes is what the host gives."""
    made = SimpleNamespace(
        model=SimpleNamespace(diffusion_model=Net()),
        model_options={"transformer_options": {SLOT: slot} if slot else {}},
        get_attachment=lambda key: taps or None if key == KEY else None,
        get_additional_models_with_key=lambda key: list(copies) if key == "multigpu" else [],
    )
    made.model.current_patcher = made
    return made


class Visited:
    """A node of the second model."""

    def __init__(self, override=None):
        self.override = override
        self.visits, self.over, self.met = [], 0, []

    @contextmanager
    def visited(self, *given):
        self.visits.append(given)
        yield
        self.over += 1

    def apply_model(self, executor, x, options, **kwargs):
        self.met.append(dict(options))
        first = KEY not in options
        options.setdefault(KEY, object())
        try:
            return executor(x, options, **kwargs)
        finally:
            if first:
                del options[KEY]


def test_only_a_model_of_somebody_else_is_another(others):
    tap, copy = object(), patcher()
    main, foreign = patcher(tap, copies=[copy]), patcher()
    met = others(main, "sampler", (1,))

    assert met.running(tap, main.model) is None
    assert met.running(tap, copy.model) is None
    assert met.running(tap, patcher(object(), tap).model) is None
    assert met.running(tap, foreign.model) is foreign
    assert met.running(tap, (wired := patcher(object())).model) is wired
    assert met.running(tap, SimpleNamespace(current_patcher=None)) is None
    assert met.running(tap, SimpleNamespace()) is None
    assert others().running(tap, foreign.model) is None


def test_a_model_stays_its_own_whoever_has_loaded_it_last(others):
    main = patcher()
    met = others(main, "sampler", (1,))
    main.model.current_patcher = patcher()

    assert met.running(object(), main.model) is None


def forwards(met, second, options, times=1):
    """What the second model met in the options of each of its forwards."""
    found = []

    def executor(x, given, extra):
        found.append(dict(given))
        return x, extra

    for _ in range(times):
        assert met.forward(second, executor, options, "x", extra=1) == ("x", 1)
    return found


@pytest.mark.parametrize("before", [theirs, None])
@pytest.mark.parametrize("ours", [0, 1, 2])
def test_without_nodes_the_second_model_runs_as_without_ours(others, override, before, ours):
    slot = before
    for _ in range(ours):
        slot = override("math", slot)
    options = {"block_index": 1, **({SLOT: slot} if slot else {})}
    given = dict(options)
    met = others(patcher(), "sampler", (1,))

    expected = {"block_index": 1, KEY: None, **({SLOT: before} if before else {})}
    assert forwards(met, patcher(), options, times=2) == [expected] * 2
    assert options == given
    assert met.notes() == [f"2 forwards of this run were another model's (Net): {ALONE}"]


@pytest.mark.parametrize("first", [True, False])
def test_its_own_backend_runs_the_second_model(others, override, first):
    own = override("flash")
    nodes = [Visited(own), Visited()]
    second = patcher(*nodes, slot=own)
    options = {SLOT: override("math", theirs)} if first else {}
    given = dict(options)
    met = others(patcher(), "sampler", (1, 16))
    with met.met():
        found = forwards(met, second, options, times=2)
        assert [node.over for node in nodes] == [0, 0]

    assert [each[SLOT] for each in found] == [own, own]
    for node in nodes:
        assert (node.visits, node.over) == ([(second, "sampler", (1, 16))], 1)
    assert nodes[0].met == [{SLOT: own}] * 2
    assert [KEY in options for options in nodes[1].met] == [True, True]
    assert options == given
    assert met.notes() == [f"2 forwards of this run were another model's (Net): {NODES}"]


def test_a_node_that_only_watches_the_second_model_leaves_it_what_was_there(others, override):
    node = Visited(override("host"))
    second = patcher(node, slot=node.override)
    options = {SLOT: override("math", theirs)}
    given = dict(options)
    met = others(patcher(), "sampler", (1,))
    with met.met():
        (found,) = forwards(met, second, options)

    assert found[SLOT] is theirs and options == given


@pytest.mark.parametrize(("known", "told"), [(object(), NODES), (None, ALONE)])
def test_a_forward_that_another_node_has_seen_to_is_told_and_let_through(others, known, told):
    node = Visited()
    options = {KEY: known, SLOT: theirs}
    met = others(patcher(), "sampler", (1,))

    assert forwards(met, patcher(node), options, times=3) == [{KEY: known, SLOT: theirs}] * 3
    assert node.visits == []
    assert met.notes() == [f"3 forwards of this run were another model's (Net): {told}"]


def test_each_run_asks_the_nodes_of_the_second_model_anew(others):
    node = Visited()
    met, second = others(patcher(), "sampler", (1,)), patcher(node)
    for run in (1, 2):
        with met.met():
            forwards(met, second, {}, times=2)
        assert (len(node.visits), node.over) == (run, run)


def test_options_are_given_back_where_the_second_model_fails(others, override):
    def executor(x, given):
        raise MemoryError

    options = {SLOT: override("math", theirs)}
    given = dict(options)
    with pytest.raises(MemoryError):
        others(patcher(), "sampler", (1,)).forward(patcher(), executor, options, "x")
    assert options == given
