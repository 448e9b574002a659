"""What an actor of Raylight's runs on its model, with real models and no Ray; of xfuser only what it answers."""

from __future__ import annotations

import csv
import sys
from types import ModuleType

import pytest
import torch.distributed as dist
from wanattn.tests.host.sampling import CALLS, sample

GROUPS = {
    "ulysses_parallel": "Ulysses",
    "ring_parallel": "ring",
    "classifier_free_guidance": "CFG",
    "pipeline_parallel": "pipeline",
    "data_parallel": "data parallel",
}
WHOLE = "each rank on its own"


@pytest.fixture
def rank(comfy):
    from wanattn.nodes.raylight import rank

    return rank


@pytest.fixture
def divided(rank, monkeypatch):
    """xfuser's answers: the ranks of its groups, None for a group that this run has not, and this rank in that of CFG."""

    def divided(at: int = 0, **degrees):
        module = ModuleType(rank.PARALLEL)
        for name, count in degrees.items():
            setattr(module, f"get_{name}_world_size", lambda count=count: asserted(count))
        module.get_classifier_free_guidance_rank = lambda: at
        monkeypatch.setitem(sys.modules, rank.PARALLEL, module)

    monkeypatch.delitem(sys.modules, rank.PARALLEL, raising=False)
    return divided


def asserted(count: int | None) -> int:
    assert count is not None, "group is not initialized"
    return count


@pytest.fixture
def model(load):
    return load("t2v").clone()


@pytest.fixture
def settings(tmp_path):
    def settings(backend="flash", on_refusal="next best", rules=()):
        policy = {"backend": backend, "on_refusal": on_refusal}
        policy |= {"precision": "exact", "max_error": 0.03}
        timings = str(tmp_path / "wanattn" / "timings.json")
        return {"policy": policy, "rules": rules, "run": "run", "timings": timings}

    return settings


def left(model) -> list[str]:
    """What is on a model that was not there before."""
    found = [*model.attachments, *model.model_options.get("transformer_options", {})]
    found += [key for kind in model.wrappers.values() for key, put in kind.items() if put]
    return [key for key in found if "wanattn" in str(key) or "override" in str(key)]


def test_a_rank_is_ready_where_the_packs_are_the_same(rank, divided, model):
    from wanattn.attention.backends import BACKENDS
    from wanattn.version import __version__ as own

    same = "".join(list(own))  # as it comes out of a message, another object
    assert rank.ready(None, same) == {"model": False, "mode": WHOLE}
    assert rank.ready(model, same) == {"model": True, "mode": WHOLE}
    assert {"sub_quad", "split"} <= BACKENDS.keys()
    for other in ("0.0.0", "999.0.0"):
        with pytest.raises(RuntimeError) as error:
            rank.ready(model, other)
        sentence = f"wanattn {own} found by a Ray actor, needs {other} as in this ComfyUI"
        assert str(error.value) == sentence


@pytest.mark.parametrize("count", [None, 0, 1])
def test_ranks_that_share_nothing_are_on_their_own(rank, divided, count):
    assert rank.mode() == WHOLE  # without xfuser
    assert [rank.degree(name) for name in GROUPS] == [1] * len(GROUPS)
    divided(**dict.fromkeys(GROUPS, count))
    assert rank.mode() == WHOLE


@pytest.mark.parametrize("name", list(GROUPS))
def test_each_way_to_divide_the_work_has_its_name(rank, divided, name):
    divided(**{**dict.fromkeys(GROUPS, 1), name: 2})
    assert rank.mode() == f"{GROUPS[name]} 2"


def test_several_ways_are_told_together(rank, divided):
    divided(ulysses_parallel=2, ring_parallel=3, classifier_free_guidance=None)
    assert rank.mode() == "Ulysses 2, ring 3"


def test_a_sampler_call_is_told_and_leaves_nothing(rank, divided, model, settings):
    before = left(model)
    rank.begin(model, settings("math", rules=[("text", "", "1", "flash")]))
    sample(model)
    rank._own(model).dispatcher._measurements.milliseconds = 12.345
    told = rank.take(model)

    assert told["facts"] == {"device": "cpu", "card": "cpu", "mode": WHOLE, "measuring_ms": 12.3}
    payload = told["payload"]
    assert payload["totals"] == {"math": CALLS - 2, "flash": 2}
    assert (payload["state"], payload["node"]) == ("finished", None)
    assert not [note for note in payload["notes"] if "ring" in note]
    assert len(told["csv"].splitlines()) == 1 + CALLS
    assert left(model) == before == []


def test_what_was_not_begun_has_no_report(rank, model, workbench):
    assert rank.take(model) is None
    rank.withdraw(model)
    watched = workbench.diagnostics(model)  # a tap without a choice of its own
    assert rank.take(watched) is None
    rank.withdraw(watched)
    assert left(watched) != []


def test_settings_take_the_place_of_those_before(rank, divided, model, settings):
    rank.begin(model, settings("math"))
    rank.begin(model, settings("flash"))
    sample(model)
    assert rank.take(model)["payload"]["totals"] == {"flash": CALLS}
    assert left(model) == []


def test_an_override_that_was_there_is_there_again(rank, model, settings):
    def other(function, *args, **named):
        return function(*args, **named)

    from wanattn.nodes.host.override import SLOT

    options = model.model_options.setdefault("transformer_options", {})
    options[SLOT] = other
    rank.begin(model, settings())
    assert options[SLOT] is not other
    rank.withdraw(model)
    assert options[SLOT] is other
    assert left(model) == [SLOT]


def test_an_override_put_over_ours_is_told_and_stays(rank, model, settings):
    from wanattn.nodes.host.override import SLOT

    rank.begin(model, settings())
    options = model.model_options["transformer_options"]
    options[SLOT] = print
    sentence = "another node's attention override was put over Wan Attention's"
    with pytest.raises(RuntimeError, match=f"^{sentence}$"):
        rank.take(model)
    assert options.pop(SLOT) is print
    assert left(model) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_ring_attention_takes_only_what_gives_a_log_sum_exp(rank, divided, model, settings, count):
    divided(ring_parallel=count)
    rank.begin(model, settings("math"))
    sample(model)
    payload = rank.take(model)["payload"]

    reasons = {reason for row in payload["rows"] for reason in row["reasons"]}
    needed = "gives no log-sum-exp, needs one for ring attention to join its parts"
    said = (
        "ring attention: each part of a call that a rank computes is counted as a call of its own"
    )
    assert reasons == ({needed} if count > 1 else set())
    assert payload["totals"] == {"flash" if count > 1 else "math": CALLS}
    assert (said in payload["notes"]) is (count > 1)


def test_with_cfg_divided_each_rank_tells_its_own_prompt(rank, divided, model, settings):
    told = []
    for at in (0, 1):
        divided(at, classifier_free_guidance=2)
        rank.begin(model, settings())
        sample(model)
        lines = csv.DictReader(rank.take(model)["csv"].splitlines())
        told.append({line["cond"] for line in lines})
    assert sorted(told, key=str) == [{"negative"}, {"positive"}]


@pytest.mark.parametrize(
    "at, ranks, cond, told",
    [
        (0, 2, "uncond+cond", "uncond"),
        (1, 2, "uncond+cond", "cond"),
        (1, 2, "cond", "cond"),
        (1, 2, "cond+uncond+cond", "cond+uncond+cond"),
        (0, 1, "cond+uncond", "cond+uncond"),
        (0, None, "cond", "cond"),
    ],
)
def test_a_forward_is_of_this_ranks_conditioning(rank, divided, at, ranks, cond, told):
    from wanattn.attention.run.follow import entered
    from wanattn.attention.run.forward import Forward

    divided(at, classifier_free_guidance=ranks)
    forward = Forward(cond=cond)
    with entered(forward):
        assert rank._named(lambda x, y: (x, y), 1, y=2) == (1, 2)
    assert forward.cond == told
    assert rank._named(lambda: 3) == 3  # in no forward of ours


def test_a_forward_without_xfuser_keeps_its_conditioning(rank, divided):
    from wanattn.attention.run.follow import entered
    from wanattn.attention.run.forward import Forward

    forward = Forward(cond="cond")
    with entered(forward):
        rank._named(lambda: None)
    assert forward.cond == "cond"


def test_an_error_of_ours_reaches_the_host_in_its_words(rank, model, settings):
    from wanattn.attention.run.forward import Unreachable
    from wanattn.attention.run.site import Site

    rank.begin(model, settings("cudnn", "stop"))
    with pytest.raises(RuntimeError, match="Attention Backend 'cudnn' cannot run this call") as e:
        sample(model)
    assert type(e.value) is RuntimeError
    assert rank.take(model)["payload"]["state"] == "failed"

    def unreachable():
        raise Unreachable("flash", Site(model.model, "blocks_0"))

    with pytest.raises(RuntimeError, match="cannot reach blocks_0") as e:
        rank._in_words(unreachable)
    assert type(e.value) is RuntimeError


def test_timings_are_in_the_hosts_file_where_this_machine_has_its_folder(rank, tmp_path):
    from wanattn.attention.choose.measure.timings import Timings, default_path

    here, elsewhere = tmp_path / "user" / "wanattn", tmp_path / "no user" / "wanattn"
    here.parent.mkdir()
    of = rank.timings_of(str(here / "timings.json"), "run")

    assert type(of("cpu")) is Timings and of("cpu") is of("cpu")
    assert of("cpu").path == here / "timings.json"
    assert rank.timings_of(str(elsewhere / "timings.json"), "run")("cpu").path == default_path()


def test_ranks_of_a_group_share_their_timings(rank, tmp_path):
    if not hasattr(dist, "HashStore"):
        pytest.skip("this torch has no store within a process, as on Windows")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        of = rank.timings_of(str(tmp_path / "wanattn" / "timings.json"), "run")
        assert type(of("cpu")).__name__ == "SharedTimings"
    finally:
        dist.destroy_process_group()
