"""What a forward of WanVideoWrapper's models finds out about its calls, once for calls that are alike."""

from __future__ import annotations

import itertools
import json
import sys

import pytest
import torch
from wanattn.attention.record.name import name_of
from wanattn.attention.run.forward import Place
from wanattn.tests.host import wrapper_imitation as imitation
from wanattn.tests.host.wrapper_imitation import TEXT, TOKENS, tokens

BRAIN, WHOLE = torch.bfloat16, torch.float32
DENSE = "radial_sage_attention runs sdpa in its dense blocks and steps"
ENDS = "sageattn_3 runs in the first and last step, sageattn in between"
SPARSE, SAGE_3 = "radial_sage_attention", "sageattn_3"
MODES = ("a mode", "comfy", "flash_attn_2", SPARSE, "sageattn", SAGE_3, "sdpa", "tomorrow")


class Taker:
    def __init__(self, takes_over: bool = False) -> None:
        self.takes_over = takes_over
        self.calls: list[tuple] = []

    def run(self, given, place, forward):
        self.calls.append((given, place, forward))
        return given.leave()


@pytest.fixture
def model(comfy):
    return imitation.transformer()


@pytest.fixture
def within(comfy):
    from wanattn.nodes.wrapper.places import Places
    from wanattn.nodes.wrapper.within import Within

    def within(model, **more):
        given = {"other": "a film", "forced": frozenset(), "known": {}, "chooses": True}
        given |= {"places": Places(model), "taker": Taker(), "text_len": TEXT}
        return Within(**{**given, **more})

    return within


def new(word: str) -> str:
    """As a prompt gives it, in letters of its own."""
    return json.loads(json.dumps(word))


def roles(forward, mode):
    """What is told of a call in that mode, by the role of its module: from the block as a whole, as newer versions call."""
    lengths = {"self": (TOKENS, TOKENS), "text": (TOKENS, TEXT), "a film": (TOKENS, 5)}
    for role, (q_len, kv_len) in lengths.items():
        name = "blocks.1.self_attn" if role == "self" else "blocks.1.cross_attn"
        place = forward.placed(name, q_len, kv_len, new(mode), False, "")
        assert (place.role, place.block, place.fickle) == (role, 1, False)
        yield role, (place.asked, place.remark)


@pytest.mark.parametrize("forced", [frozenset(), frozenset({0}), frozenset({1})])
def test_only_modes_that_run_another_are_told_by_their_own_name(within, forced):
    told = {}
    for loaded, mode in itertools.product(MODES, MODES):
        forward = within(imitation.transformer(new(loaded)), forced=forced, chooses=False)
        told |= {(loaded, mode, role): seen for role, seen in roles(forward, mode)}

    between = {role: (SAGE_3, ENDS) for role in ("self", "text", "a film")}
    special = {(SAGE_3, "sageattn", role): seen for role, seen in between.items()}
    special[SPARSE, "sdpa", "self"] = ("sdpa", DENSE)
    if 1 in forced:
        special = {key: seen for key, seen in special.items() if key[2] != "self"}
    plain = {key: (key[1], "") for key in told}
    assert told == {**plain, **special}


def test_a_block_that_calls_itself_is_forced_as_its_module_would_be(within):
    model = imitation.transformer("sdpa")
    model.blocks[1].attention_mode = SPARSE
    told = [
        within(model, forced=frozenset(forced)).placed("blocks.1", 9, 9, "sdpa", True, "")
        for forced in ((), (1,))
    ]
    assert told == [
        Place("self", 1, fickle=True, asked="sdpa", remark=DENSE),
        Place("self", 1, fickle=True, asked="sdpa"),
    ]


@pytest.mark.parametrize(
    ("mode", "chooses", "takes_over", "left", "told"),
    [
        (SPARSE, True, False, "", f"{SPARSE} is no plain attention and keeps its own kernel"),
        (SPARSE, True, True, "", ""),
        (SPARSE, False, False, "", ""),
        ("sdpa", True, False, "", ""),
        (SPARSE, True, True, "packed", "packed"),
        ("sdpa", False, False, "packed", "packed"),
    ],
)
def test_what_must_stay_says_why(within, model, mode, chooses, takes_over, left, told):
    forward = within(model, chooses=chooses, taker=Taker(takes_over))

    assert forward.placed("blocks.0.self_attn", 9, 9, mode, False, left).left == told


def find(forward, call, heads_first=False, casts=False, foreign=False):
    return forward.found(sys._getframe(), call, len, heads_first, casts, foreign)


def asked(q, k, mode="sdpa", **named):
    from wanattn.nodes.wrapper.modes import asked

    return asked(mode, q, k, k, **named)


def test_what_is_found_of_a_call_is_its_place_way_back_and_dtype(within, model):
    forward = within(model, known={})
    x, text = tokens(), tokens(TEXT)
    by_tokens = find(forward, asked(x, text))
    by_heads = find(forward, asked(x.transpose(1, 2), text.transpose(1, 2), "sageattn"), True)

    place = Place("text", None, asked="sdpa")
    assert (by_tokens.place, by_tokens.dtype) == (place, WHOLE)
    assert (by_heads.place, by_heads.dtype) == (place._replace(asked="sageattn"), WHOLE)
    ways = [(name_of(one.back), one.back.heads_first) for one in (by_tokens, by_heads)]
    assert ways == [("sdpa", False), ("sageattn", True)]
    with torch.autocast("cpu", dtype=BRAIN):
        dtypes = [find(forward, asked(x, text), casts=casts).dtype for casts in (False, True)]
        watched = find(within(model, chooses=False), asked(x, text)).dtype
        left = find(forward, asked(x, text, causal=True)).dtype
    assert (dtypes, watched, left) == ([BRAIN, BRAIN], None, None)


def test_calls_that_are_alike_are_one_kind_and_no_others_are(within, model):
    forward = within(model)
    x, text = tokens(), tokens(TEXT)
    first, again = (find(forward, asked(tokens(), tokens(TEXT))) for _ in range(2))
    foreign = find(forward, asked(x, text), foreign=True)
    half = find(forward, asked(x.to(BRAIN), text.to(BRAIN)))

    assert first is again
    assert foreign is not first and foreign.facts is first.facts and foreign.place.fickle
    assert half.facts is not first.facts
    assert first.back is foreign.back is half.back


def test_compiled_code_is_placed_by_the_module_that_runs_it(within, model):
    taker = Taker()
    forward = within(model, taker=taker)
    q, k = (tokens(number).transpose(1, 2) for number in (TOKENS, TEXT))
    attend = model.blocks[1].cross_attn

    def run(self):
        return forward.serve(q, k, k, None, 0.5, None, True)

    served = run(attend)
    (given, place, told), *_ = taker.calls
    meant = torch.nn.functional.scaled_dot_product_attention(q, k, k, scale=0.5)
    assert torch.equal(served, meant)
    assert (place, told) == (Place("text", 1, protected=True, asked="sdpa"), forward)
    assert tuple(given.inputs()) == (q, k, k, None, 0.5) and name_of(given.back) == "sdpa"
    assert given.back.heads_first
    forward.serve(q, q, q, None, None, None, False)
    assert taker.calls[1][1] == Place("self", None, asked="sdpa")
