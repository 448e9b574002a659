"""What is decided about compiled graphs, piece by piece; nothing is compiled here."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def compiled(comfy):
    from wanattn.nodes.host.run import compiled

    return compiled


@pytest.fixture
def forward(comfy):
    from wanattn.attention.run.forward import Forward

    return Forward(proof="all", recorders=[object()], captures=[object()])


@pytest.fixture
def resets(monkeypatch):
    """How often torch forgot its graphs."""
    made = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: made.append(1))
    return made


class OnCard:
    """As much of a tensor of [batch, heads, tokens, head_dim] as is looked at."""

    is_cuda = True
    shape = (2, 4, 6, 8)


Q = torch.randn(1, 2, 3, 4)
FACTS = {
    "mask": "mask",
    "skip_reshape": True,
    "skip_output_reshape": True,
    "_inside_attn_wrapper": True,
}


@pytest.mark.parametrize(
    ("heads", "key_heads", "scale", "protected", "more"),
    [
        (4, 4, None, False, {}),
        (300, 300, 0.5, False, {"scale": 0.5}),
        (4, 2, 0.0, False, {"scale": 0.0, "enable_gqa": True}),
        (2, 4, None, True, {"enable_gqa": True, "low_precision_attention": False}),
    ],
)
def test_the_host_is_told_all_of_a_call(
    compiled, monkeypatch, forward, heads, key_heads, scale, protected, more
):
    """By either way: the override while a node is there, the host's own function where none is left."""
    q, k, v = (torch.empty(1, each, 3, 2) for each in (heads, key_heads, key_heads))
    asked = []

    def noted(*args, **named):
        asked.append((args, named))
        return "result"

    monkeypatch.setattr(compiled.host_attention, "optimized_attention", noted)
    server = compiled.Server(noted, forward, {})

    assert compiled.attend_as_host(q, k, v, "mask", scale, None, protected) == "result"
    assert server(q, k, v, "mask", scale, None, protected) == "result"
    (plain, named), (served, given) = asked
    options = given.pop("transformer_options")
    assert plain == (q, k, v, heads) and named == {**FACTS, **more}
    assert served == (noted, *plain) and given == named
    assert options == {"wanattn": forward, "block_index": None}


@pytest.mark.parametrize(
    ("told", "known", "block"), [(None, 7, 7), (0, 7, 0), (3, None, 3), (None, None, None)]
)
def test_a_call_without_a_number_has_that_of_the_options(compiled, forward, told, known, block):
    asked = []

    def override(*call, transformer_options, **facts):
        asked.append(transformer_options["block_index"])

    server = compiled.Server(override, forward, {} if known is None else {"block_index": known})
    server(Q, Q, Q, None, None, told, False)

    assert asked == [block]


def test_options_that_the_model_is_given_on_its_way_are_followed(compiled, forward):
    asked, plain, seen = [], {"block_index": 1}, {"wanattn": forward, "block_index": 5}

    def override(*call, transformer_options, **facts):
        asked.append(transformer_options["block_index"])

    def model(*args, **named):
        server(Q, Q, Q, None, None, None, False)
        return args, named

    server = compiled.Server(override, forward, plain)
    assert server.follow(model, "x", transformer_options={}) == (
        ("x",),
        {"transformer_options": {}},
    )
    server.follow(model, "x", {"other": 2}, seen)
    server.follow(model, "x", transformer_options=seen)
    assert asked == [1, 5, 5]


@pytest.mark.parametrize(
    ("on_card", "capturing", "recorded"),
    [(True, True, False), (True, False, True), (False, True, True)],
)
def test_a_call_is_recorded_unless_a_card_captures_it(
    compiled, monkeypatch, forward, on_card, capturing, recorded
):
    asked = []

    def override(*call, transformer_options, **facts):
        asked.append(transformer_options["wanattn"])

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    server = compiled.Server(override, forward, {})
    before = server.asked, server.captured
    q = OnCard() if on_card else Q
    server(q, q, q, None, None, 0, False)

    assert before == (False, False)
    assert (server.asked, server.captured) == (True, not recorded)
    (given,) = asked
    assert (given is forward) == recorded
    if not recorded:
        assert (given.proof, given.recorders, given.captures) == ("off", [], [])


def part() -> torch.nn.Module:
    """As torch.compile gives one."""
    return torch.compile(torch.nn.Linear(1, 1))


def in_place() -> torch.nn.Module:
    module = torch.nn.Linear(1, 1)
    module.compile()
    return module


def wrapper_of(count: int):
    """As the host's compile helper makes it."""
    held = {f"part {number}": part() for number in range(count)}

    def wrapper(executor, *args, **named):
        return executor(*args, **named, held=held)

    return wrapper


@pytest.mark.parametrize(
    ("patches", "inside", "wrappers", "option", "compiled_", "by_block"),
    [
        ([], [], [], False, False, False),
        ([], [], [], True, True, False),
        ([part()], [], [], False, True, False),
        ([], [in_place()], [], False, True, False),
        ([], [part()], [], False, True, False),
        ([], [], [wrapper_of(1)], True, True, False),
        ([], [], [wrapper_of(2), functools.partial(print)], True, True, True),
        ([part(), part()], [], [], False, True, True),
        ([part()], [], [wrapper_of(3)], True, True, True),
        ([torch.nn.Linear(1, 1), "text"], [], [functools.partial(print)], False, False, False),
    ],
)
def test_what_is_compiled_of_a_model(
    compiled, patches, inside, wrappers, option, compiled_, by_block
):
    model = model_with(patches, inside, wrappers, option)
    graphs = compiled.Graphs()
    graphs.begin(model)

    parts = len([*patches, *inside]) if compiled_ else 0
    held = sum(len(w.__closure__[0].cell_contents) for w in wrappers if hasattr(w, "__closure__"))
    assert compiled.compiled_blocks(model) == parts + held
    assert (graphs.compiled, graphs.by_block) == (compiled_, by_block)


def model_with(patches=(), inside=(), wrappers=(), option=False) -> SimpleNamespace:
    inner = torch.nn.ModuleList(inside)
    known = {("apply_model", "torch.compile"): list(wrappers)}
    return SimpleNamespace(
        model_options={"torch_compile_kwargs": {}} if option else {},
        object_patches=dict(enumerate(patches)),
        model=SimpleNamespace(diffusion_model=inner),
        get_wrappers=lambda kind, key: known.get((kind, key), []),
    )


@pytest.mark.parametrize("before", [None, {}, {"diffusion_model": {"other": ["theirs"]}, "x": {}}])
@pytest.mark.parametrize("by_block", [True, False])
def test_wrappers_of_others_stay_beside_the_one_of_a_model_compiled_by_blocks(
    compiled, override, forward, before, by_block
):
    graphs, slot = compiled.Graphs(), override("flash")
    graphs.begin(model_with([part()] * (2 if by_block else 1)))
    options = {"block_index": 1, **({} if before is None else {"wrappers": before})}
    given = dict(options)
    with graphs.serving(slot, forward, options, certain=False):
        found = options.get("wrappers")

    if not by_block:
        assert options == given
        return
    around = dict(found["diffusion_model"])
    (ours,) = around.pop("wanattn")
    assert ours.__name__ == "follow"
    assert around == (before or {}).get("diffusion_model", {})
    assert set(found) == {"diffusion_model", *(before or {})}


def test_graphs_that_no_run_has_begun_with_change_nothing(compiled, override, forward, resets):
    graphs, options = compiled.Graphs(), {}
    with graphs.serving(override("flash"), forward, options, certain=True):
        pass

    assert (options, resets, graphs.notes(True), graphs.renewed) == ({}, [], [], False)


@pytest.mark.parametrize(
    ("parts", "certain", "backend", "calls", "renewed"),
    [
        (1, True, "flash", 0, True),
        (0, True, "flash", 0, False),
        (1, False, "flash", 0, False),
        (1, True, "host", 0, False),
        (1, True, "flash", 1, False),
    ],
)
def test_a_graph_that_asks_for_nothing_is_renewed(
    compiled, override, forward, resets, parts, certain, backend, calls, renewed
):
    graphs = compiled.Graphs()
    graphs.begin(model_with([part()] * parts))
    with graphs.serving(override(backend), forward, {}, certain):
        forward.calls += calls

    assert bool(resets) == graphs.renewed == renewed
    told = {0: [], 1: [compiled.WATCHED, compiled.RENEWED] if renewed else [compiled.WATCHED]}[
        parts
    ]
    assert graphs.notes(takes=False) == told
    assert graphs.notes(takes=True) == ([compiled.TAKEN, *told[1:]] if told else [])


def test_a_graph_is_renewed_once_a_run_and_never_again_where_that_did_not_help(
    compiled, override, resets
):
    from wanattn.attention.run.forward import Forward

    graphs, slot, model = compiled.Graphs(), override("flash"), model_with([part()])
    made = []
    for calls in ((0, 2), (0, 0), (0,)):
        graphs.begin(model)
        for each in calls:
            forward = Forward()
            with graphs.serving(slot, forward, {}, certain=True):
                forward.calls += each
            made.append(len(resets))

    assert made == [1, 1, 2, 2, 2]


def test_a_graph_that_asks_shows_that_the_model_is_compiled(compiled, override):
    from wanattn.attention.record.recorder import Recorder
    from wanattn.attention.run import operator
    from wanattn.attention.run.forward import Forward

    graphs, forward = compiled.Graphs(), Forward(recorders=[Recorder()])
    graphs.begin(model_with())
    with graphs.serving(override("math"), forward, {}, certain=True):
        operator.attend(Q, Q, Q, None, None, 0, False)

    assert graphs.compiled and forward.calls == 1
    assert graphs.notes(True) == [compiled.TAKEN]


def test_the_calls_go_to_the_first_of_ours_that_chooses(compiled, override):
    def other(*call):
        return call

    chooses, watches = override("flash"), override("host", other)
    above = override("host", override("host", chooses))

    assert compiled.taker(chooses) is compiled.taker(above) is chooses
    assert compiled.taker(watches) is compiled.taker(other) is compiled.taker(None) is None
