"""Which modules of a model call attention, where they stand and what for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def roles(comfy):
    from wanattn.nodes.host.run import roles

    return roles


class Plain(torch.nn.Module):
    pass


class AudioInjector(torch.nn.Module):
    pass


@pytest.mark.parametrize(
    ("name", "kind", "role"),
    [
        ("blocks.0.self_attn", Plain, "self"),
        ("blocks.0.cross_attn", Plain, "cross"),
        ("blocks.0.attn", Plain, "cross"),
        ("self_attn.blocks.0", Plain, "cross"),
        ("self_attn", Plain, "self"),
        ("vace_blocks.1.self_attn", Plain, "vace self"),
        ("vace_blocks.1.cross_attn", Plain, "vace text"),
        ("other.vace_blocks.1.self_attn", Plain, "self"),
        ("blocks.0.self_attn", AudioInjector, "audio"),
        ("face_adapter.fuser_blocks.0", Plain, "face"),
        ("music_injector.injector.2", Plain, "music"),
        ("Uni3C.controlnet_blocks.1.self_attn", Plain, "camera"),
        ("blocks.1.SingleStreamAttention", Plain, "speech"),
        ("singlestream.audio.face", Plain, "speech"),
    ],
)
def test_a_place_and_a_class_tell_what_a_module_is_for(roles, name, kind, role):
    assert roles.role_of(name, kind()) == role


class Caller(torch.nn.Module):
    """A module that calls attention as packs do, by torch's name."""

    def forward(self, x):
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)


Caller.__module__ = "otherpack.model"


class Added(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Caller()])


def model_of(inner, *patches, nested=()) -> SimpleNamespace:
    """As much of a patcher as tells of its modules."""
    return SimpleNamespace(
        model=SimpleNamespace(diffusion_model=inner),
        get_additional_models_with_key=lambda key: [],
        model_patches_models=lambda: list(patches),
        get_nested_additional_models=lambda: list(nested),
    )


def told(site) -> tuple:
    return site.name, site.role, site.block, site.around, site.home


def test_every_caller_of_wan_is_told_with_its_place(roles, load):
    model = load("t2v")
    inner = model.model.diffusion_model
    expected = []
    for number, block in enumerate(inner.blocks):
        around = (block, inner.blocks, inner)
        for part, role in (("self_attn", "self"), ("cross_attn", "cross")):
            name = f"blocks.{number}.{part}"
            expected.append((name, role, number, around, ("comfy", "comfy_extras")))

    assert [told(site) for site in roles.sites_of(model)] == expected


def test_of_another_model_lengths_decide_and_its_own_package_is_at_home(roles):
    inner = torch.nn.ModuleDict({"mid_blocks": torch.nn.ModuleList([Caller()]), "last": Caller()})
    (site, last) = roles.sites_of(model_of(inner))

    home = ("comfy", "comfy_extras", "otherpack")
    assert told(site) == ("mid_blocks.0", "", 0, (inner["mid_blocks"], inner), home)
    assert told(last) == ("last", "", None, (inner,), home)


def test_a_model_that_calls_attention_itself_stands_in_nothing(roles):
    caller = Caller()
    (site,) = roles.sites_of(model_of(caller))

    assert (site.module, site.name, site.block, site.around) == (caller, "", None, ())


def test_what_is_patched_into_a_model_is_looked_at_once(roles):
    added, nested, inner = Added(), Added(), Caller()
    patches = [SimpleNamespace(model=each) for each in (added, added, "text", inner, None)]
    model = model_of(inner, *patches, object(), nested=[SimpleNamespace(model=nested), patches[0]])
    model.model = inner  # whoever patches may name the whole model, too
    inner.diffusion_model = Caller()

    found = [(site.module, site.name, site.around) for site in roles.sites_of(model)]
    assert found == [
        (inner.diffusion_model, "", ()),
        (added.layers[0], "Added.layers.0", (added.layers, added)),
        (nested.layers[0], "Added.layers.0", (nested.layers, nested)),
    ]


class Asking(torch.nn.Module):
    """Asks within its forward what it is for."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def forward(self):
        return self.places.role()


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("blocks_0_self_attn", "self"),
        ("blocks_0_cross_attn", "cross"),
        ("tail", ""),
        ("audio_proj", "audio"),
        ("face_adapter", "face"),
    ],
)
def test_the_module_that_runs_tells_the_role_where_its_name_is_sure(roles, load, name, role):
    """A module that is neither for self-attention nor named for another may do anything."""
    model = load("t2v")
    inner = model.model.diffusion_model
    places = roles.Places(model)
    inner.add_module(name, Asking(places))
    try:
        assert getattr(inner, name)() == role
        assert getattr(inner, name)() == role
        assert places.role() == ""
    finally:
        delattr(inner, name)


def test_no_role_is_told_of_a_module_of_another_model(roles):
    inner = torch.nn.ModuleDict()
    places = roles.Places(model_of(inner))
    inner["self_attn"] = Asking(places)

    assert inner["self_attn"]() == ""
