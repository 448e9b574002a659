"""What the function in the host's attention slot makes of a call, and whom it asks. The host itself is not needed here."""

from __future__ import annotations

import pytest
import torch
from wanattn.attention.choose.policy import Policy
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import Dispatcher
from wanattn.attention.run.forward import Forward, Place
from wanattn.attention.run.site import Site
from wanattn.nodes.host import override as overriding
from wanattn.nodes.host.override import HostCall, Override, ahead

BATCH, HEADS, TOKENS, KEYS, HEAD_DIM = 2, 3, 5, 7, 8


class Listening(Dispatcher):
    """Notes what comes, and gives what the kernels would give."""

    def __init__(self, backend="flash", **named):
        super().__init__(Policy(backend), **named)
        self.came = []

    def run(self, call, place, forward):
        self.came.append((call, place, forward))
        return torch.ones(call.q.shape[0], call.heads, call.lengths[0], HEAD_DIM)


def host_attention(q, k, v, heads, **rest):
    return "host", (q, k, v, heads), rest


def own_attention(q, k, v, heads, **rest):
    return "pack", (q, k, v, heads), rest


def other_override(func, q, k, v, heads, **rest):
    return "other", (func, q, k, v, heads), rest


host_attention.__module__ = "comfy.ldm.modules.attention"
own_attention.__module__ = "/anywhere/custom_nodes/OtherPack.nodes"


def qkv(apart=False):
    q = torch.arange(BATCH * TOKENS * HEADS * HEAD_DIM).view(BATCH, TOKENS, -1).float()
    k = torch.arange(BATCH * KEYS * HEADS * HEAD_DIM).view(BATCH, KEYS, -1).float() * 2
    v = torch.arange(BATCH * KEYS * HEADS * HEAD_DIM).view(BATCH, KEYS, -1).float() * 3
    return tuple(map(by_heads, (q, k, v))) if apart else (q, k, v)


def by_heads(x):
    return x.view(*x.shape[:2], HEADS, -1).transpose(1, 2)


def call_of(apart=False, mask=None, output_apart=False, heads=HEADS, **rest):
    rest = {"mask": mask, "skip_reshape": apart, "skip_output_reshape": output_apart, **rest}
    q, k, v = qkv(apart)
    return HostCall(host_attention, (q, k, v, heads), rest, q, k, v, heads, rest)


@pytest.mark.parametrize("apart", [False, True])
def test_a_call_is_taken_apart_by_heads_once(apart):
    call = call_of(apart, scale=0.25)

    assert call.lengths == (TOKENS, KEYS)
    inputs = call.inputs()
    assert inputs is call.inputs()
    for found, given in zip(inputs[:3], qkv(), strict=True):
        assert torch.equal(found, by_heads(given))
    assert inputs.mask is None and inputs.scale == 0.25


@pytest.mark.parametrize(
    ("shape", "whole"),
    [
        ((TOKENS, KEYS), (1, 1, TOKENS, KEYS)),
        ((BATCH, TOKENS, KEYS), (BATCH, 1, TOKENS, KEYS)),
        ((BATCH, 1, TOKENS, KEYS), (BATCH, 1, TOKENS, KEYS)),
    ],
)
def test_a_mask_is_made_four_dimensional(shape, whole):
    mask = torch.rand(shape)

    assert torch.equal(call_of(True, mask).inputs().mask, mask.view(whole))


@pytest.mark.parametrize(
    ("rest", "protected"),
    [({}, False)] + [({"low_precision_attention": v}, v is False) for v in (True, False, None, 0)],
)
def test_a_call_is_protected_where_the_host_reads_it_so(rest, protected):
    assert call_of(**rest).protected is protected


@pytest.mark.parametrize(
    ("dimensions", "apart", "shape"),
    [
        (4, False, (BATCH, TOKENS, HEADS * HEAD_DIM)),
        (4, True, (BATCH, HEADS, TOKENS, HEAD_DIM)),
        (3, False, (BATCH, TOKENS, HEADS * HEAD_DIM)),
        (3, True, (BATCH, TOKENS, HEADS * HEAD_DIM)),
    ],
)
def test_a_result_is_laid_out_as_the_host_asked_for_it(dimensions, apart, shape):
    merged = qkv()[0]
    result = by_heads(merged) if dimensions == 4 else merged

    found = call_of(output_apart=apart).laid_out(result)

    assert found.shape == shape
    assert torch.equal(found, by_heads(merged) if len(shape) == 4 else merged)


def site(block=None, **named):
    return Site(torch.nn.Identity(), "blocks.3.self_attn", "self", block, **named)


def inside(forward, **options):
    return {"transformer_options": {"wanattn": forward, **options}}


@pytest.mark.parametrize(
    ("options", "sites", "block"),
    [
        (None, (), None),
        ({}, (), None),
        ({"block_index": 4}, (), 4),
        ({"block_index": 4}, (None,), 4),
        ({"block_index": 4}, (3,), 3),
        ({"block_index": 4}, (0,), 0),
    ],
)
def test_the_block_is_that_of_the_module_else_what_the_model_says(options, sites, block):
    forward = Forward(step=2, sites=[(site(number), 0) for number in sites])
    dispatcher = Listening()
    options = {"transformer_options": options} if not sites else inside(forward, **options)

    result = Override(Recorder(), None, dispatcher)(host_attention, *qkv(), HEADS, **options)

    assert result.shape == (BATCH, TOKENS, HEADS * HEAD_DIM)
    ((call, place, found),) = dispatcher.came
    assert place == Place("self" if sites else "text", block)
    assert call.lengths == (TOKENS, KEYS)
    assert (found is forward) == bool(sites)


def test_a_call_outside_of_any_forward_is_recorded_all_the_same():
    recorder, dispatcher = Recorder(), Listening()

    Override(recorder, None, dispatcher)(host_attention, *qkv(), HEADS)

    ((_, _, forward),) = dispatcher.came
    assert forward.recorders == [recorder] and forward.step is None


@pytest.mark.parametrize("previous", [None, other_override])
def test_the_forward_of_another_model_is_passed_on_as_it_was(previous):
    dispatcher = Listening()
    override = Override(Recorder(), previous, dispatcher)
    options, (q, k, v) = {"wanattn": None}, qkv()

    who, call, rest = override(host_attention, q, k, v, HEADS, transformer_options=options, more=1)

    assert dispatcher.came == []
    assert who == ("other" if previous else "host")
    assert call == ((host_attention, q, k, v, HEADS) if previous else (q, k, v, HEADS))
    assert rest == {
        "mask": None,
        "attn_precision": None,
        "skip_reshape": False,
        "skip_output_reshape": False,
        "transformer_options": options,
        "more": 1,
    }


def with_wish(where):
    """A module in which a file asks for another function, as newer hosts put it there."""
    module = torch.nn.Identity()
    wish = torch.nn.Module()
    wish.function = own_attention
    if where == "submodule":
        module.comfy_attention = wish
    elif where == "attribute":
        vars(module)["comfy_attention"] = wish
    return module


@pytest.mark.parametrize("previous", [None, other_override])
@pytest.mark.parametrize("where", ["submodule", "attribute", ""])
def test_a_call_that_is_left_goes_to_whoever_would_have_had_it(where, previous):
    forward = Forward(sites=[(Site(with_wish(where), "blocks.0.self_attn", "self"), 0)])
    dispatcher = Listening("host")
    q, k, v = qkv()

    Override(Recorder(), previous, dispatcher)(host_attention, q, k, v, HEADS, **inside(forward))

    ((call, place, _),) = dispatcher.came
    who, given, rest = call.leave()
    assert who == ("other" if previous else "pack" if where else "host")
    assert given == ((host_attention, q, k, v, HEADS) if previous else (q, k, v, HEADS))
    assert rest["transformer_options"]["wanattn"] is forward
    assert place.fickle is (previous is not None)  # it may run something else in another step


@pytest.mark.parametrize(
    ("module", "takes_over", "left"),
    [
        ("comfy.ldm.modules.attention", False, ""),
        ("comfy_extras.nodes_sag", False, ""),
        (None, False, ""),
        ("OtherPack.nodes", True, ""),
        ("OtherPack.nodes", False, "OtherPack keeps its own attention there"),
    ],
)
def test_what_another_pack_put_into_the_model_keeps_its_calls(module, takes_over, left):
    def attention(q, k, v, heads, **rest):
        return q

    attention.__module__ = module
    dispatcher = Listening(takes_over=takes_over)
    override = Override(Recorder(), None, dispatcher)
    for _ in range(2):
        override(attention, *qkv(), HEADS)

    assert [place.left for _, place, _ in dispatcher.came] == [left] * 2


@pytest.mark.parametrize("outer", [False, True])
def test_the_call_around_is_told_what_the_one_within_it_gave(outer):
    forward = Forward(inside=outer, within=1)
    dispatcher = Listening()

    result = Override(Recorder(), None, dispatcher)(
        host_attention, *qkv(), HEADS, **inside(forward)
    )

    assert result.shape == (BATCH, TOKENS, HEADS * HEAD_DIM)
    assert forward.passed_on(result) is outer
    assert forward.within == 1


@pytest.fixture
def compiling(monkeypatch):
    """What the operator in the graph is called with, while the compiler traces."""
    asked = []

    def attend(*operands):
        asked.append(operands)
        return torch.zeros(BATCH, HEADS, TOKENS, HEAD_DIM)

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(overriding, "attend", attend)
    return asked


@pytest.mark.parametrize(
    ("named", "numbers", "block", "protected"),
    [
        ({}, True, None, False),
        ({"transformer_options": None}, True, None, False),
        ({"transformer_options": {"block_index": 0}}, True, 0, False),
        ({"transformer_options": {"block_index": 4}}, False, None, False),
        (
            {"transformer_options": {"block_index": 4}, "low_precision_attention": False},
            True,
            4,
            True,
        ),
    ],
)
def test_a_graph_holds_one_operator_with_the_block_where_numbers_may_be_in_it(
    compiling, named, numbers, block, protected
):
    override = Override(Recorder(), None, Listening())
    assert override.numbers is True
    override.numbers = numbers
    q, k, _ = qkv()

    result = override(host_attention, q, k, k, HEADS, scale=0.5, **named)

    assert result.shape == (BATCH, TOKENS, HEADS * HEAD_DIM)
    ((*tensors, mask, scale, number, full),) = compiling
    assert all(torch.equal(a, by_heads(b)) for a, b in zip(tensors, (q, k, k), strict=True))
    assert (mask, scale, number, full) == (None, 0.5, block, protected)
    assert override.dispatcher.came == []


@pytest.mark.parametrize(
    ("backend", "device", "previous", "who"),
    [
        ("host", "cpu", None, "host"),
        ("host", "cpu", other_override, "other"),
        ("flash", "meta", None, "host"),
        ("host", "meta", None, "host"),
        ("flash", "cpu", other_override, ""),
    ],
)
def test_a_graph_is_what_it_would_be_where_there_is_nothing_to_choose(
    compiling, backend, device, previous, who
):
    q, k, _ = (x.to(device) for x in qkv())

    result = Override(Recorder(), previous, Listening(backend))(host_attention, q, k, k, HEADS)

    assert len(compiling) == (not who)
    assert who == (result[0] if who else "")


@pytest.mark.parametrize(
    ("backend", "previous", "replaced"),
    [
        ("flash", other_override, "test_override.other_override"),
        ("flash", None, None),
        ("flash", "ours", None),
        ("host", other_override, None),
        ("host", None, None),
    ],
)
def test_an_override_that_gets_no_turn_any_more_is_named(backend, previous, replaced):
    if previous == "ours":
        previous = Override(Recorder(), None, Listening())

    assert Override(Recorder(), previous, Listening(backend)).replaced == replaced


def watching(previous):
    return Override(Recorder(), previous, Listening("host", watches=True))


LATER = "another Attention Backend after this one decides"
GONE = "something after this node took its attention off the model"


@pytest.mark.parametrize("backend", ["flash", "host"])
@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        (lambda own: own, ""),
        (lambda own: watching(own), ""),
        (lambda own: watching(watching(own)), ""),
        (lambda own: None, GONE),
        (lambda own: watching(None), GONE),
        (lambda own: Override(Recorder(), own, Listening()), LATER),
        (lambda own: watching(Override(Recorder(), own, Listening())), LATER),
        (
            lambda own: other_override,
            "test_override.other_override was wired after this node and is asked first",
        ),
        (
            lambda own: watching(other_override),
            "test_override.other_override was wired after this node and is asked first",
        ),
    ],
)
def test_a_node_knows_who_is_asked_before_it(over, sentence, backend):
    own = Override(Recorder(), other_override, Listening(backend))

    assert ahead(over(own), own) == sentence
