"""What a patched model is given where the caller names no more than its backend."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch


def test_the_timings_of_a_device_are_one_object_in_the_user_s_folder(comfy):
    import folder_paths
    from wanattn.nodes.host.patch import timings_of

    timings_of.cache_clear()
    assert timings_of("cpu") is timings_of("cpu")
    assert timings_of("cpu").path == Path(folder_paths.get_user_directory(), "wanattn/timings.json")


def test_what_other_packs_run_is_taken_over_only_where_that_is_asked(workbench, load):
    from wanattn.attention.choose.policy import Policy
    from wanattn.nodes.host.patch import patch
    from wanattn.nodes.host.tap import taps

    for named, takes_over in (({}, False), ({"takes_over": True}, True)):
        (tap,) = taps(patch(load("t2v"), Policy("flash"), **named))
        assert tap.override.dispatcher.takes_over is takes_over


def test_blocks_are_counted_where_the_model_numbers_them(load, unet):
    from wanattn.nodes.host.patch import block_count

    odd = SimpleNamespace(blocks=[torch.nn.Identity()] * 3)
    others = SimpleNamespace(model=SimpleNamespace(diffusion_model=odd))

    assert [block_count(model) for model in (load("t2v"), unet, others)] == [2, 0, 0]
