from __future__ import annotations

import copy

import torch
from wanattn.attention.call import Call
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.forward import Forward


def test_equal_lengths_are_self_attention():
    assert Forward(text_len=512).role(32760, 32760) == "self"


def test_context_lengths_tell_text_from_image():
    forward = Forward(text_len=512, image_len=257)

    assert [forward.role(32760, kv) for kv in (512, 257, 128)] == ["text", "image", "other"]


def test_without_known_text_other_lengths_are_taken_for_text():
    assert Forward().role(4096, 77) == "text"


def record(role, block):
    call = Call(role, 1, 2, 512, 512, 128, torch.float32)
    return Record(call, "auto", "flash", "forced", block=block)


def test_a_latent_as_long_as_the_text_goes_by_the_order_of_wan_s_blocks():
    forward, roles = Forward(text_len=512), []

    for block in (0, 0, 1, 1):
        roles.append(forward.role(512, 512, block))
        assert forward.role(512, 512, block) == roles[-1]  # asking changes nothing
        forward.add(record(roles[-1], block))

    assert roles == ["self", "text", "self", "text"]


def test_the_text_comes_after_the_image_too():
    forward = Forward(text_len=512, image_len=257)
    forward.add(record("image", 3))

    assert forward.role(512, 512, 3) == "text"


def test_a_copy_of_the_options_stays_with_its_forward():
    forward = Forward(recorders=[Recorder()])

    assert copy.deepcopy({"wanattn": forward})["wanattn"] is forward
