"""What a call will run on, told before there are tensors."""

import dataclasses

import pytest
import torch
from wanattn.attention.call import Call
from wanattn.attention.choose.forecast import ONLY, forecast
from wanattn.attention.choose.measure.timings import Timing
from wanattn.attention.choose.policy import Policy
from wanattn.attention.environment import probe

CALL = Call("self", 1, 4, 4096, 4096, 128, torch.bfloat16)


def told(backend="auto", known=None, call=CALL, **policy):
    return forecast(call, Policy(backend, **policy), probe(), known or {}, "attention_host")


def test_auto_with_timings_of_this_machine_names_the_fastest_and_the_times():
    found = told(known={"flash": Timing(400.0, 900.0), "math": Timing(255.0, 255.0)})

    assert (found.active, found.reason) == ("math", "measured here: math 255 ms, flash 400 ms")


@pytest.mark.parametrize("known", [{}, {"flash": Timing(400.0, 900.0)}])
def test_auto_without_all_timings_leaves_it_open_and_says_who_is_timed(known):
    found = told(known=known)

    assert (found.active, found.reason) == ("", "timed at the first call: flash, math")


def test_the_only_one_that_can_run_is_certain():
    huge = Call("self", 1, 40, 1_000_000, 1_000_000, 128, torch.bfloat16)  # 75 TiB for math
    found = told(call=huge)

    assert (found.active, found.reason) == ("flash", ONLY)


def test_a_name_that_cannot_run_here_gives_way_with_its_reason():
    found = told("cudnn")

    assert (found.requested, found.active) == ("cudnn", "flash")
    assert found.reason == "cuDNN does not exist on cpu"
    assert told("cudnn", on_refusal="stop").active == ""


def test_what_is_left_to_the_host_has_the_functions_name():
    assert told("host").active == "attention_host"


def test_auto_where_nothing_can_be_chosen_has_the_hosts_name_and_the_reason():
    found = told(call=dataclasses.replace(CALL, device="mps"))

    assert (found.active, found.reason) == (
        "attention_host",
        "auto has nothing to choose from on mps",
    )


def test_math_writes_down_the_whole_score_matrix():
    assert told("math").plain()["math_gib"] == pytest.approx(4 * 4096**2 * 2 / 2**30, rel=1e-3)
