"""What WanVideoWrapper's samplers give a forward, and what that says of its calls."""

from __future__ import annotations

import pytest
from wanattn.tests.host import wrapper_imitation as imitation
from wanattn.tests.host.wrapper_imitation import tokens


@pytest.fixture
def model(comfy):
    return imitation.transformer()


@pytest.mark.parametrize(
    ("latents", "named", "cond"),
    [
        (1, {}, "positive"),
        (1, {"is_uncond": False}, "positive"),
        (1, {"is_uncond": True}, "negative"),
        (2, {"is_uncond": True}, "positive+negative"),
        (3, {}, "positive+negative"),
    ],
)
def test_a_forward_is_of_the_positive_or_the_negative_or_both(comfy, latents, named, cond):
    from wanattn.nodes.wrapper.session import _cond

    x, text = [tokens()] * latents, [tokens()] * 2
    assert _cond((x, text), named) == _cond((), {"x": x, **named}) == cond
    assert _cond((), {}) == "positive"


@pytest.mark.parametrize(
    ("named", "other"),
    [
        ({}, "other"),
        ({"audio_proj": None, "fantasy_portrait_input": None}, "other"),
        ({"audio_proj": {}}, "audio"),
        ({"fantasy_portrait_input": {}}, "face"),
        ({"audio_proj": {}, "fantasy_portrait_input": {}}, "audio"),
    ],
)
def test_another_context_is_named_by_what_is_given(comfy, named, other):
    from wanattn.nodes.wrapper.session import _other

    assert _other(named) == other


@pytest.mark.parametrize(
    ("step", "more", "forced"),
    [
        (0, {}, ()),
        (1, {}, (0, 1)),
        (2, {}, (0, 1)),
        (3, {}, ()),
        (4, {}, ()),
        (None, {}, ()),
        (2, {"blocks": [1]}, (1,)),
        (3, {"blocks": [1]}, ()),
    ],
)
def test_a_node_sets_the_mode_of_blocks_from_a_step_until_another(model, step, more, forced):
    from wanattn.nodes.wrapper.session import _forced

    override = {"mode": "comfy", "start_step": 1, "end_step": 3, **more}
    options = {"attention_mode_override": override}

    given = {"transformer_options": options, "current_step": step}
    assert _forced(model, given) == frozenset(forced)


@pytest.mark.parametrize("options", [None, {}, {"attention_mode_override": None}])
def test_without_that_node_no_block_is_forced(model, options):
    from wanattn.nodes.wrapper.session import _forced

    assert _forced(model, {"transformer_options": options, "current_step": 1}) == frozenset()
