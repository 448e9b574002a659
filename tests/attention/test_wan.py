"""The size of a video in tokens."""

import pytest
from wanattn.attention.wan import VARIANTS, Video


@pytest.mark.parametrize(
    ("model", "size", "frames", "tokens"),
    [
        ("14b", "832x1216", 81, 21 * 76 * 52),
        ("14b", "1280x720", 81, 21 * 45 * 80),
        ("5b", "1280x704", 121, 31 * 22 * 40),
        ("5b", "1280x720", 121, 31 * 23 * 40),  # 45 rows of latents, two of them a patch
        ("5b", "48x16", 1, 2),
    ],
)
def test_patches_at_the_edge_are_filled_up(model, size, frames, tokens):
    assert VARIANTS[model].tokens(Video.of(size, frames)) == tokens


@pytest.mark.parametrize("size", ["840x720", "1280x728", "0x16"])
def test_only_multiples_of_16_are_sizes(size):
    with pytest.raises(ValueError, match="needs a multiple of 16"):
        Video.of(size, 81)


def test_a_video_is_at_first_what_wan_makes_at_480p_and_its_latent_an_eighth_of_it():
    assert Video().size == "832x480"
    assert Video().latent == (21, 60, 104)
    assert Video(1280, 720, 5).latent == (2, 90, 160)


@pytest.mark.parametrize("frames", [0, -3, 4, 80, 82])
def test_frames_that_wan_cannot_make_are_refused(frames):
    with pytest.raises(ValueError, match=f"^frames {frames}, needs 4n"):
        Video(832, 480, frames)
