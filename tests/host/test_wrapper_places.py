"""Role and block of a call of one of WanVideoWrapper's models, by the module that makes it and the lengths."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
import torch
from wanattn.attention.run.forward import Forward

TEXT, IMAGE, VIDEO, MORE = 512, 257, 300, 1000  # tokens


class Attention(torch.nn.Module):
    def __init__(self, mode: str = "") -> None:
        super().__init__()
        self.reads = Counter()
        self.mode = mode

    @property
    def attention_mode(self) -> str:
        self.reads["mode"] += 1
        return self.mode


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.cross_attn = Attention("sageattn_3"), Attention()
        self.audio_attn = torch.nn.Identity()

    def running(self, places) -> str:
        return places.running(sys._getframe())


class Compiled(torch.nn.Module):
    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


class Transformer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks = [Block(), Block(), Compiled(Block())]
        self.blocks = torch.nn.ModuleList(blocks)
        self.vace_blocks = torch.nn.ModuleList([Block(), Compiled(Block())])
        self.head = torch.nn.Identity()


@pytest.fixture
def transformer():
    return Transformer()


@pytest.fixture
def places(comfy, transformer):
    from wanattn.nodes.wrapper.places import Places

    return Places(transformer)


def of(places, name, q_len, kv_len, text_len=TEXT, image_len=IMAGE):
    """With numbers of their own, as tensors give them."""
    known = Forward(text_len=text_len and int(str(text_len)), image_len=image_len)
    return places.of(known, name, int(str(q_len)), int(str(kv_len)), "a film")


@pytest.mark.parametrize(
    ("name", "block"),
    [("", None), ("blocks.1", 1), ("blocks.2._orig_mod", 2), ("head", None)],
)
@pytest.mark.parametrize(
    ("q_len", "kv_len", "role"),
    [
        (VIDEO, VIDEO, "self"),
        (MORE, MORE, "self"),
        (TEXT, TEXT, "text"),
        (VIDEO, TEXT, "text"),
        (MORE, TEXT, "text"),
        (VIDEO, IMAGE, "image"),
        (MORE, VIDEO, "a film"),
        (VIDEO, MORE, "a film"),
        (VIDEO, 100, "a film"),
    ],
)
def test_the_lengths_tell_what_a_whole_block_calls_for(places, name, block, q_len, kv_len, role):
    if name == "head" and role == "self":
        role = "a film"  # it is a module within, and none of attention to itself
    assert of(places, name, q_len, kv_len) == (role, block)


@pytest.mark.parametrize(
    ("q_len", "kv_len", "role"),
    [
        (VIDEO, VIDEO, "a film"),
        (TEXT, TEXT, "text"),
        (VIDEO, TEXT, "text"),
        (IMAGE, IMAGE, "image"),
        (VIDEO, MORE, "a film"),
    ],
)
def test_attention_to_a_context_is_never_to_itself(places, q_len, kv_len, role):
    for name in ("blocks.1.cross_attn", "blocks.2._orig_mod.cross_attn"):
        assert of(places, name, q_len, kv_len) == (role, int(name[7]))


@pytest.mark.parametrize("name", ["vace_blocks.1", "vace_blocks.1._orig_mod"])
@pytest.mark.parametrize(
    ("q_len", "kv_len", "role"),
    [
        (VIDEO, VIDEO, "vace self"),
        (MORE, MORE, "vace self"),
        (TEXT, TEXT, "vace text"),
        (VIDEO, TEXT, "vace text"),
        (VIDEO, 100, "vace text"),
        (VIDEO, IMAGE, "vace text"),
    ],
)
def test_a_block_of_vace_has_roles_of_its_own(places, name, q_len, kv_len, role):
    assert of(places, name, q_len, kv_len) == (role, 1)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("blocks.0.self_attn", "self"),
        ("blocks.0.audio_attn", "audio"),
        ("vace_blocks.1._orig_mod.self_attn", "vace self"),
    ],
)
def test_what_a_module_is_for_goes_before_the_lengths(places, name, role):
    for q_len, kv_len in ((VIDEO, VIDEO), (VIDEO, TEXT), (VIDEO, IMAGE)):
        assert of(places, name, q_len, kv_len)[0] == role


def test_a_model_without_a_context_knows_self_and_other(places):
    known = [
        of(places, "blocks.0", *lengths, None, None)[0] for lengths in ((9, 9), (9, 5), (5, 9))
    ]
    assert known == ["self", "a film", "a film"]


def test_the_mode_of_a_module_is_read_once_and_empty_where_it_has_none(places, transformer):
    loaded = transformer.blocks[1].self_attn

    assert [places.mode("blocks.1.self_attn") for _ in range(3)] == ["sageattn_3"] * 3
    assert [places.mode("blocks.1") for _ in range(2)] == ["", ""]
    assert loaded.reads["mode"] == 1


def test_the_innermost_module_that_runs_is_named(places, transformer):
    assert transformer.blocks[1].running(places) == "blocks.1"
    assert Block().running(places) == ""


def test_the_same_facts_stand_for_each_other_and_no_others_do(places):
    first, again, other = places.same(1, "a"), places.same(1, "a"), places.same(1, "b")

    assert first is again
    assert len({first, again, other}) == 2
    assert places.known(257, "other") is places.known(257, "other")
    assert places.known(257, "other") is not places.known(None, "other")
