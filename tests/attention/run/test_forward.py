from __future__ import annotations

import copy
import weakref

import torch
from wanattn.attention.call import Call
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.forward import Forward
from wanattn.attention.run.site import CROSS, Site


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


def site(role):
    return Site(torch.nn.Identity(), "blocks.0.attn", role)


def test_the_innermost_module_says_what_a_call_is_for():
    forward = Forward(text_len=512, sites=[(site("self"), 0), (site("audio"), 0)])

    assert Forward().site is None
    assert forward.site is not None and forward.site.role == "audio"
    assert forward.role(32760, 512) == "audio"


def test_a_cross_attention_goes_by_its_keys():
    forward = Forward(text_len=512, sites=[(site(CROSS), 0)])

    roles = [forward.role(32760, keys) for keys in (257, 512, 768)]
    assert roles == ["image", "text", "image"]
    assert Forward(sites=[(site(CROSS), 0)]).role(32760, 257) == "text"


def test_who_calls_is_looked_up_once_for_a_length_and_only_where_no_module_is_known():
    asked = []

    def seek():
        asked.append(1)
        return "audio" if len(asked) == 1 else ""

    forward = Forward(text_len=512, seek=seek)

    assert [forward.role(32760, keys) for keys in (32, 32, 64)] == ["audio", "audio", "other"]
    assert len(asked) == 2
    forward.sites.append((site(""), 0))
    assert forward.role(32760, 128) == "other" and len(asked) == 2


def test_calls_are_counted_and_timed_for_whoever_records_them():
    one, forward = record("self", 0), Forward(recorders=[Recorder()])

    assert forward.timed(torch.add, (torch.ones(1), 1), torch.device("cpu"), one) == 2
    for _ in range(2):
        forward.add(one)

    assert one.milliseconds is not None and (forward.calls, forward.last) == (2, one)
    assert forward.recorders[0].snapshot().counts.total() == 2
    untimed = record("self", 0)
    assert Forward().timed(torch.add, (torch.ones(1), 1), torch.device("cpu"), untimed) == 2
    assert untimed.milliseconds is None


def test_a_cross_attention_that_nobody_saw_is_one_to_the_text():
    recorder = Recorder()
    recorder.begin("job", 1)
    for role in ("".join(list(CROSS)), "audio", ""):
        Forward(recorders=[recorder]).miss(site(role))

    (run,) = recorder.snapshot().runs
    assert sorted(role for _, role, _ in run.past) == ["audio", "other", "text"]


def test_what_a_call_within_gave_is_known_again_by_its_memory():
    given, forward = torch.ones(2, 3), Forward()
    assert not forward.passed_on(given)  # nothing was given yet
    forward.gave = weakref.ref(given)

    passed = [forward.passed_on(each) for each in (given, given.flatten(), given + 0, [given])]

    assert passed == [True, True, False, False]
