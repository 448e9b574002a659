"""The sizes of a model, of its calls and of its videos, told from the host's own classes."""

from __future__ import annotations

import pytest
import torch

LATENT = (2, 16, 6, 15, 17)  # rows and columns that are no whole patch


@pytest.fixture
def sized(load, monkeypatch):
    """A loaded model that has other sizes until the end of the test."""

    def sized(kind="t2v", blocks=2, **sizes):
        model = load(kind)
        denoiser = model.model.diffusion_model
        layers = torch.nn.ModuleList(torch.nn.Identity() for _ in range(blocks))
        monkeypatch.setitem(denoiser._modules, "blocks", layers)
        for name, value in sizes.items():
            monkeypatch.setattr(denoiser, name, value)
        return model

    return sized


@pytest.mark.parametrize(
    ("module", "name", "wan"),
    [
        ("packs.wrapper.wanvideo.modules.model", "WanModel", True),
        ("packs.wrapper.wanvideo.modules.model", "A", False),
        ("packs.wrapper.wanvideo.modules.model", "Z", False),
        ("packs.another.model", "WanModel", False),
    ],
)
def test_the_wrappers_wan_is_told_by_the_end_of_its_module_and_its_name(comfy, module, name, wan):
    from wanattn.nodes.host.expected.sizes import is_wan

    assert is_wan(type("".join(name), (), {"__module__": module})()) is wan


def test_the_hosts_wan_is_told_by_its_class(load, unet):
    from wanattn.nodes.host.expected.sizes import is_wan

    assert is_wan(load("t2v").model.diffusion_model)
    assert not is_wan(unet.model.diffusion_model)


@pytest.mark.parametrize(
    ("kind", "sizes", "told"),
    [
        ("t2v", {"num_heads": 40, "dim": 5120, "blocks": 40}, "('14b', 40, 40, 16, 128)"),
        ("ti2v_5b", {"num_heads": 24, "dim": 3072, "blocks": 30}, "('5b', 24, 30, 32, 128)"),
        ("t2v", {"num_heads": 24, "dim": 1536, "blocks": 30}, "('WAN21', 24, 30, 16, 64)"),
        ("ti2v_5b", {}, "('WAN22', 2, 2, 32, 128)"),
    ],
)
def test_a_variant_goes_by_its_name_only_where_all_its_sizes_are_those(sized, kind, sizes, told):
    from wanattn.nodes.host.expected.sizes import variant_of

    variant = variant_of(sized(kind, **sizes))
    facts = (variant.name, variant.heads, variant.blocks, variant.pixels, variant.head_dim)

    assert repr(facts) == told


def test_the_shapes_of_another_model_are_refused(unet):
    from wanattn.nodes.host.expected.sizes import variant_of

    with pytest.raises(
        ValueError, match="knows the shapes of Wan models only, and this one is Base"
    ):
        variant_of(unet)


@pytest.mark.parametrize(("channels", "side"), [(16, 8), (47, 8), (48, 16), (49, 8)])
def test_an_older_host_tells_the_5b_model_only_by_its_channels(comfy, channels, side):
    from comfy.latent_formats import Wan21
    from wanattn.nodes.host.expected.sizes import pixels_of

    class Older(Wan21):
        spacial_downscale_ratio = None
        latent_channels = channels

    class Newer(Older):
        spacial_downscale_ratio = 32

    assert (pixels_of(Older), pixels_of(Newer)) == (side, 32)


HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("cast", "stored", "told"),
    [
        (HALF, FULL, HALF),
        (None, FULL, FULL),
        (None, HALF, HALF),
        (None, torch.float8_e4m3fn, BRAIN),
    ],
)
def test_a_model_computes_in_what_it_is_cast_to_or_stored_in(load, monkeypatch, cast, stored, told):
    from wanattn.nodes.host.expected.sizes import dtype_of

    model = load("t2v")
    monkeypatch.setattr(model.model, "manual_cast_dtype", cast)
    monkeypatch.setattr(model.model.diffusion_model, "dtype", stored)
    assert dtype_of(model) is told

    monkeypatch.setattr(model.model, "pipeline", {"base_dtype": cast, "dtype": stored}, False)
    assert dtype_of(model) is told


@pytest.mark.parametrize(
    ("kind", "image"), [("t2v", []), ("i2v_tokens", ["Call('image', 2, 2, 432, 257)"])]
)
def test_each_kind_of_call_is_told_for_whole_patches(sized, kind, image):
    from wanattn.nodes.host.expected.sizes import calls_of, dtype_of

    model = sized(kind, text_len=512)
    calls = calls_of(model, LATENT)
    told = [(one.role, one.batch, one.heads, one.q_len, one.kv_len) for one in calls]

    assert [f"Call{each}" for each in told] == [
        "Call('self', 2, 2, 432, 432)",
        "Call('text', 2, 2, 432, 512)",
        *image,
    ]
    assert {repr(one.head_dim) for one in calls} == {"128"}
    assert {(one.dtype, one.device) for one in calls} == {(dtype_of(model), "cpu")}


def test_no_call_is_told_of_what_may_have_tokens_of_its_own(sized):
    """A class of its own, such as that of VACE, or a reference image in front."""
    from comfy.ldm.wan.model import WanModel
    from wanattn.nodes.host.expected.sizes import calls_of

    assert calls_of(sized(ref_conv="a layer"), LATENT) == []
    assert calls_of(sized(__class__=type("Other", (WanModel,), {})), LATENT) == []


@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (1, 2, 16, 5, 16, 16)])
def test_nothing_is_told_of_what_is_no_video(load, shape):
    from wanattn.nodes.host.expected.sizes import calls_of, video_of

    assert (calls_of(load("t2v"), shape), video_of(load("t2v"), shape)) == ([], None)


def test_nothing_is_told_of_the_video_of_another_model(unet):
    from wanattn.nodes.host.expected.sizes import video_of

    assert video_of(unet, LATENT) is None


@pytest.mark.parametrize(("kind", "side"), [("t2v", 8), ("ti2v_5b", 16)])
@pytest.mark.parametrize(("frames", "length"), [(1, 1), (5, 17), (6, 21)])
def test_a_latent_is_told_as_the_video_it_becomes(load, kind, side, frames, length):
    from wanattn.nodes.host.expected.sizes import video_of

    told = video_of(load(kind), (1, 16, frames, 12, 25))

    assert told == {"width": 25 * side, "height": 12 * side, "frames": length}


@pytest.mark.parametrize(
    ("kind", "told"), [("t2v", "(1, 16, {}, 17, 25)"), ("ti2v_5b", "(1, 48, {}, 8, 12)")]
)
@pytest.mark.parametrize(("length", "frames"), [(1, 1), (80, 20), (81, 21), (84, 21), (85, 22)])
def test_a_video_is_told_as_the_latent_it_comes_from(load, kind, told, length, frames):
    """What is no whole pixel of the latent is left out."""
    from wanattn.nodes.host.expected.sizes import shape_of

    assert repr(shape_of(load(kind), 204, 140, length)) == told.format(frames)
