"""What becomes of a call of WanVideoWrapper's functions while a forward is served: in an imitation of its modules."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from wanattn.attention.record.name import name_of
from wanattn.attention.run.follow import entered
from wanattn.attention.run.forward import Forward, Place
from wanattn.attention.run.operator import serving
from wanattn.tests.host import wrapper_imitation as imitation
from wanattn.tests.host.wrapper_imitation import HEADS, TEXT, TOKENS, tokens

HALF, BRAIN, WHOLE = torch.float16, torch.bfloat16, torch.float32
OWN = "radial_sage_attention is no plain attention and keeps its own kernel"


class Taker:
    """Answers calls with exact attention, or leaves them, and notes them."""

    takes_over = False

    def __init__(self, leaves: bool = False) -> None:
        self.leaves = leaves
        self.calls: list[tuple] = []
        self.facts: list[tuple] = []

    def run(self, given, place, forward):
        q, k, v, mask, _ = inputs = given.inputs()
        self.facts.append(given.facts())
        assert given.device() == q.device and given.inputs() is inputs
        self.calls.append((place, name_of(given.back), q.shape[2], k.shape[2], q.dtype))
        assert q.shape[1] == HEADS and q.dtype == k.dtype == v.dtype
        if self.leaves:
            forward.inside = True  # what the wrapper's function calls is part of this call
            return given.leave()
        return imitation.part("modules.attention").exact(q, k, v, mask)


@pytest.fixture
def model(comfy):
    return imitation.transformer()


@pytest.fixture
def account(model):
    from wanattn.nodes.wrapper.calls import Account

    return Account(imitation.MODEL)


@pytest.fixture
def within(model):
    from wanattn.nodes.wrapper.places import Places
    from wanattn.nodes.wrapper.within import Within

    def within(taker, chooses=True, **more):
        given = {"places": Places(model), "other": "a film", "forced": frozenset(), "known": {}}
        return Within(taker=taker, chooses=chooses, text_len=TEXT, **{**given, **more})

    return within


@pytest.fixture
def serve(account, within):
    def serve(taker, call, *args, chooses=True, **named):
        names = account.taking if chooses else account.watching
        with names.led(), entered(within(taker, chooses)):
            return call(*args, **named)

    return serve


def calls(model):
    """Of each function once: what is called, with what, and what is told of it."""
    block, x, text = model.blocks[1], tokens(), tokens(TEXT)
    cross = block.cross_attn
    lengths = {"self": (TOKENS, TOKENS), "text": (TOKENS, TEXT)}
    given = [
        (block.self_attn, (x,), "self", "sdpa"),
        (cross, (x, text), "text", "sdpa"),
        (cross.packaged, (x, text), "text", "sageattn"),
        (cross.plain, (x, text), "text", "sdpa"),
        (block.sparse, (x,), "self", "radial_sage_attention"),
        (block.dense, (x,), "self", "sparse_sage_attn"),
    ]
    return [
        (call, args, Place(role, 1, asked=mode), lengths[role]) for call, args, role, mode in given
    ]


def close(given, meant) -> bool:
    same = given.shape == meant.shape and given.dtype == meant.dtype
    return same and torch.allclose(given, meant, rtol=1e-4, atol=1e-5)


def test_every_function_is_told_by_its_place_and_answered_in_its_own_layout(model, serve):
    torchs = model.blocks[1].cross_attn.plain
    for call, args, place, lengths in calls(model):
        taker = Taker()
        plain = call(*args)
        taken = serve(taker, call, *args)
        assert close(taken, plain)
        left = OWN if place.asked == "radial_sage_attention" else ""
        known = "scaled_dot_product_attention" if call == torchs else place.asked
        assert taker.calls == [(place._replace(left=left), known, *lengths, WHOLE)]


def test_a_call_that_is_left_runs_as_it_was_made(model, serve):
    for call, args, place, lengths in calls(model):
        taker = Taker(leaves=True)
        assert torch.equal(serve(taker, call, *args, chooses=False), call(*args))
        ((told, _, *seen, _),) = taker.calls
        assert (told, tuple(seen)) == (place, lengths)


def test_what_nobody_watches_and_another_hosts_forward_go_straight_through(model, account):
    for call, args, *_ in calls(model):
        taker = Taker()
        with account.taking.led():
            unwatched = call(*args)
            with entered(Forward(taker=taker)):
                other = call(*args)
        assert torch.equal(unwatched, call(*args)) and torch.equal(other, call(*args))
        assert not taker.calls


def test_our_own_code_keeps_the_functions_that_it_holds(account, monkeypatch):
    from wanattn.nodes.wrapper import calls

    theirs = imitation.part("modules.model")
    monkeypatch.setattr(calls, "held", theirs.attention, raising=False)
    with account.taking.led():
        assert calls.held is not theirs.attention
        assert calls.held is theirs.attention.function
    assert calls.held is theirs.attention


def test_the_names_of_a_wrapper_are_sought_once(model):
    from wanattn.nodes.wrapper.calls import account_of

    assert account_of(imitation.MODEL) is account_of(imitation.MODEL)


def test_a_taken_result_lies_in_memory_as_the_wrappers_own(model, serve):
    assert serve(Taker(), model.blocks[0].self_attn, tokens()).is_contiguous()


@pytest.mark.parametrize(
    ("mode", "dtype", "cast", "computed", "given"),
    [
        ("sdpa", WHOLE, None, WHOLE, WHOLE),
        ("sdpa", WHOLE, BRAIN, BRAIN, BRAIN),
        ("sdpa", HALF, None, HALF, HALF),
        ("flash_attn_2", WHOLE, None, BRAIN, WHOLE),
        ("flash_attn_2", HALF, BRAIN, HALF, HALF),
    ],
)
def test_a_kernel_is_given_what_the_wrapper_would_compute_in(
    serve, mode, dtype, cast, computed, given
):
    taker, attend = Taker(), imitation.transformer(mode).blocks[0].self_attn
    with torch.autocast("cpu", dtype=cast or BRAIN, enabled=cast is not None):
        result = serve(taker, attend, tokens(dtype=dtype))
    assert (taker.calls[0][-1], result.dtype) == (computed, given)


def test_what_is_only_watched_or_left_keeps_its_dtype(model, serve):
    watching, kept = Taker(leaves=True), Taker(leaves=True)
    with torch.autocast("cpu", dtype=BRAIN):
        serve(watching, model.blocks[0].self_attn, tokens(), chooses=False)
        serve(kept, model.blocks[0].sparse, tokens())
    assert [taker.calls[0][-1] for taker in (watching, kept)] == [WHOLE, WHOLE]


def test_each_operand_is_brought_to_that_dtype(model, serve):
    names = vars(imitation.part("modules.model"))
    for odd in range(3):
        operands = [tokens(dtype=HALF if place == odd else WHOLE) for place in range(3)]
        taker = Taker()
        serve(taker, lambda operands=operands: names["attention"](*operands))
        assert taker.calls[0][-1] == (HALF if odd == 0 else WHOLE)


@pytest.fixture
def older(monkeypatch):
    """The modules of a version whose function knows no options and casts what it is given."""

    def attention(q, k, v, dtype=BRAIN, attention_mode="sdpa"):
        return q.to(dtype)

    modules = [ModuleType(f"older.wanvideo.modules.{name}") for name in ("model", "attention")]
    for module in modules:
        module.attention = attention
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return modules[0]


def test_older_versions_compute_in_the_dtype_that_a_call_names(older, within):
    from wanattn.nodes.wrapper.calls import Account

    taker, x = Taker(), tokens()
    with Account(older.__name__).taking.led(), entered(within(taker)):
        result = older.attention(x, x, x)

    assert (taker.calls[0][-1], result.dtype, result.shape) == (BRAIN, BRAIN, x.shape)


@pytest.fixture
def traced(monkeypatch, account):
    """What a trace of torch.compile makes of a call, and what its operator is asked for."""

    def traced(call, *args, names=account.taking, **named):
        asked = []

        def serve(q, k, v, mask, scale, block, protected):
            asked.append((q.shape[2], k.shape[2], q.dtype, mask is not None, scale, protected))
            return imitation.part("modules.attention").exact(q, k, v, mask)

        with monkeypatch.context() as patched, names.led(), serving(serve):
            patched.setattr(torch.compiler, "is_compiling", lambda: True)
            return call(*args, **named), asked

    return traced


def test_compiled_code_asks_one_operator_whoever_serves_it(model, traced):
    attend, x, text = model.blocks[0].cross_attn, tokens(), tokens(TEXT)
    mask = torch.ones(TOKENS, TEXT, dtype=torch.bool).tril(9)
    for named in ({}, {"attn_mask": mask}, {"softmax_scale": 8**-0.5}):
        result, asked = traced(attend, x, text, **named)
        assert close(result, attend(x, text, **named)) and result.is_contiguous()
        masked, scale = "attn_mask" in named, named.get("softmax_scale")
        assert asked == [(TOKENS, TEXT, WHOLE, masked, scale, False)]


def test_a_trace_reads_no_lengths_and_computes_as_the_wrapper(traced, older):
    from wanattn.nodes.wrapper.calls import Account

    flash = imitation.transformer("flash_attn_2").blocks[0].self_attn
    result, asked = traced(flash, tokens(), k_lens=torch.tensor([3]))
    assert (asked[0][2], result.dtype) == (BRAIN, WHOLE)
    x, names = tokens(), Account(older.__name__).taking
    result, asked = traced(lambda: older.attention(x, x, x), names=names)
    assert (asked[0][2], result.dtype) == (BRAIN, BRAIN)


def test_compiled_code_keeps_the_wrappers_function_where_no_kernel_may_run(model, account, traced):
    sparse = imitation.transformer("sageattn_ultravico").blocks[0].self_attn
    block, x, text = model.blocks[0], tokens(), tokens(TEXT)
    given = [
        (sparse, (x,), {}, account.taking),
        (block.self_attn, (x,), {"causal": True}, account.taking),
        (block.cross_attn.packaged, (x, text), {}, account.taking),
        (block.sparse, (x,), {}, account.taking),
        (block.dense, (x,), {}, account.taking),
        (block.self_attn, (x,), {}, account.watching),
    ]
    for call, args, named, names in given:
        result, asked = traced(call, *args, names=names, **named)
        assert torch.equal(result, call(*args, **named))
        assert not asked
