from __future__ import annotations

from wanattn.attention.run.forward import Forward


def test_equal_lengths_are_self_attention():
    assert Forward(text_len=512).role(32760, 32760) == "self"


def test_context_lengths_tell_text_from_image():
    forward = Forward(text_len=512, image_len=257)

    assert [forward.role(32760, kv) for kv in (512, 257, 128)] == ["text", "image", "other"]


def test_without_known_text_other_lengths_are_taken_for_text():
    assert Forward().role(4096, 77) == "text"


def test_a_latent_as_long_as_the_text_alternates_as_wan_blocks_do():
    forward = Forward(text_len=512)

    assert [forward.role(512, 512) for _ in range(4)] == ["self", "text", "self", "text"]


def test_a_call_that_is_passed_on_is_counted_once():
    forward = Forward(text_len=512)
    role = forward.role(512, 512)

    assert forward.passed_on(role, lambda: forward.role(512, 512)) == "self"
    assert forward.role(512, 512) == "text"
