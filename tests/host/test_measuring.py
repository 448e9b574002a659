"""What the benchmark of a model asks for before anything is measured, and what it says of models that it half knows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from wanattn.bench.results.row import Results


@pytest.fixture
def measuring(workbench, monkeypatch):
    """The module, with what it would race and the memory that it asked the host for noted in its place."""
    import comfy.model_management
    from wanattn.nodes.host import measuring

    noted = SimpleNamespace(module=measuring, raced=[], freed=[])

    def race(cases, backends, results, progress, rounds, seed):
        names = [backend.name for backend in backends]
        noted.raced.append(([case.title for case in cases], names, rounds, seed))

    monkeypatch.setattr(measuring, "race", race)
    monkeypatch.setattr(measuring, "keep", lambda cases, results, timings_of: ())
    monkeypatch.setattr(
        comfy.model_management,
        "free_memory",
        lambda size, device: noted.freed.append((size, device)),
    )
    return noted


def measure(measuring, model, **wish):
    results = Results("kernels", {}, measuring.module.BASELINE)
    measuring.module.measure(model, measuring.module.Wish(**wish), results, None)
    return results


def test_the_widgets_begin_with_what_is_measured_where_nothing_is_asked(workbench):
    from wanattn.nodes.host.measuring import Wish

    inputs = workbench.nodes["WanAttnBenchmark"].GET_SCHEMA().inputs
    shown = {each.id: getattr(each, "default", None) for each in inputs[1:]}
    wish = Wish()

    names = ("width", "height", "backends")
    assert {name: shown[name] for name in names} == {name: getattr(wish, name) for name in names}
    assert (shown["repeat"], shown["measure_again"]) == (wish.rounds, wish.seed)
    (clip,) = wish.clips
    assert (clip.width, clip.height, clip.frames) == (832, 480, 81)


def test_the_host_is_asked_for_three_times_the_largest_call_and_a_gib(measuring, load):
    measure(measuring, load("t2v"), width=1280, height=720, frames="121,49", backends="flash,math")

    assert measuring.raced[0][0] == [
        f"{n} frames {part}" for n in (121, 49) for part in ("self", "text")
    ]
    tokens = 31 * 45 * 80
    largest = 4 * tokens * 256 * 4  # q, k, v and the output; the model's width; float32
    assert measuring.freed == [(3 * largest + 2**30, torch.device("cpu"))]


@pytest.mark.parametrize(
    ("backends", "raced", "baseline"),
    [
        ("flash,math,sub_quad", ["flash", "math", "sub_quad"], "flash"),
        (" Math , HOST", ["math", "host"], "host"),
        ("split", ["split"], "split"),
    ],
)
def test_others_are_set_against_the_host_or_the_first_that_was_named(
    measuring, load, backends, raced, baseline
):
    results = measure(measuring, load("t2v"), frames="5", backends=backends, rounds=3, seed=7)

    assert measuring.raced == [(["5 frames self", "5 frames text"], raced, 3, 7)]
    assert (results.baseline, results.notes) == (baseline, [])


def test_without_a_name_the_host_and_all_that_can_run_are_measured(measuring, load):
    results = measure(measuring, load("t2v"), frames="5", backends="  ")

    ((_, names, *_),) = measuring.raced
    assert names[0] == results.baseline == "host"
    assert {"flash", "math"} < set(names) and not {"sub_quad", "split"} & set(names)


def test_a_device_that_cannot_be_timed_is_refused_before_memory_is_asked_for(measuring):
    model = SimpleNamespace(load_device=torch.device("mps"))

    with pytest.raises(RuntimeError) as raised:
        measure(measuring, model)
    sentence = "this model computes on mps; kernels can be timed on cpu and cuda only"
    assert str(raised.value) == sentence and measuring.freed == []


@pytest.mark.parametrize("kind", ["WanModel", "VaceWanModel"])
def test_models_with_tokens_of_their_own_are_told_so(measuring, load, kind):
    from comfy.ldm.wan import model as wan

    model = load("t2v").clone()
    diffusion = getattr(wan, kind).__new__(getattr(wan, kind))
    notes = measuring.module._caveats(
        SimpleNamespace(model=SimpleNamespace(diffusion_model=diffusion))
    )

    assert measuring.module._caveats(model) == []
    told = "VaceWanModel may add tokens of its own (references, poses, sound), not counted here"
    assert notes == [told] * (kind != "WanModel")


def test_the_environment_is_the_machine_s_and_the_host_s(measuring, load):
    import comfyui_version

    found = measuring.module.environment_of(load("t2v"))

    assert found["comfyui"] == comfyui_version.__version__ and found["host_attention"] == "pytorch"
    assert found["torch"] == torch.__version__
