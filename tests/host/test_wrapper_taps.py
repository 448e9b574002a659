"""Our nodes on models of WanVideoWrapper: what they make of their inputs, a view for each clone, and what is told of a run."""

from __future__ import annotations

import sys

import pytest
import torch
from wanattn.attention.choose.policy import Policy
from wanattn.tests.host import wrapper
from wanattn.tests.host import wrapper_imitation as imitation
from wanattn.tests.host.conftest import chained
from wanattn.tests.host.wrapper_imitation import forward, loaded, sample

LATER = "another Attention Backend after this one decides"


@pytest.fixture
def model(comfy):
    return loaded()


@pytest.fixture
def nodes(workbench):
    return wrapper.with_nodes(workbench)


def names():
    """Every name in the imitation and in torch's functions."""
    modules = [module for name, module in sys.modules.items() if name.startswith(imitation.ROOT)]
    return {
        (m.__name__, n): id(v) for m in (*modules, torch.nn.functional) for n, v in vars(m).items()
    }


@pytest.mark.parametrize("backend", ["", "math"])
def test_every_call_of_a_run_is_in_the_report_and_every_name_put_back(nodes, backend):
    model = loaded("flash_attn_2")
    sample(model)
    before = names()
    seen = wrapper.backed(nodes, model, backend) if backend else wrapper.watched(nodes, model)
    sample(seen, steps=3)
    assert names() == before
    with pytest.raises(TypeError):
        forward(seen.model.diffusion_model, text=None)
    assert names() == before

    sample(seen, steps=3)
    report = nodes.report(seen)
    ran, asked = backend or "flash_attn_2", backend or "flash_attn_2"
    expected = {
        (str(step), str(block), role, asked, ran, "positive"): 1
        for step in range(3)
        for block in range(2)
        for role in ("self", "text")
    }
    assert report.counts("step", "block", "role", "requested", "active", "cond") == expected
    assert report.payload["model"] == {"class": "WanVideoModel", "wan": True}
    assert report.payload["state"] == "finished"


def tap_of(model):
    return model.get_attachment("wanattn")[-1]


def test_a_node_with_what_must_be_given_has_the_defaults_of_its_inputs(nodes, model):
    given = {"model": model, "backend": "flash", "on_refusal": "stop"}
    dispatcher = tap_of(nodes.run("WanAttnWrapperBackend", "10", **given)[0]).dispatcher

    assert dispatcher.policy == Policy("flash", "stop", "exact", 0.03)
    assert (dispatcher.rules, dispatcher.takes_over) == ((), False)


@pytest.mark.parametrize(("other", "over"), [("keep their kernels", False), ("take over", True)])
def test_a_node_takes_all_its_inputs(nodes, model, other, over):
    rules = chained(nodes, ("self", "1", "", "host"))
    more = {"precision": "allow approximate", "max_error": 0.1, "other_packs": "".join(other)}
    taken = wrapper.backed(nodes, model, "auto", at="12", rules=rules, **more)
    tap = tap_of(taken)

    assert tap.dispatcher.policy == Policy("auto", "next best", "allow approximate", 0.1)
    assert (tap.node, tap.dispatcher.takes_over, len(tap.dispatcher.rules)) == ("12", over, 1)


@pytest.mark.parametrize("name", ["WanAttnWrapperBackend", "WanAttnWrapperDiagnostics"])
def test_nodes_are_run_for_each_place_in_a_workflow(nodes, name):
    schema = nodes.nodes[name].GET_SCHEMA()

    assert schema.not_idempotent
    assert [each.io_type for each in (*schema.inputs[:1], *schema.outputs)] == ["WANVIDEOMODEL"] * 2


def test_ranges_to_capture_are_refused_before_anything_runs(nodes):
    node = nodes.nodes["WanAttnWrapperDiagnostics"]

    assert node.validate_inputs(capture="0-1") is True and node.validate_inputs() is True
    assert "x" in node.validate_inputs(capture="x")


def test_another_model_is_refused(nodes, unet):
    with pytest.raises(ValueError, match=r"^UNetModel given, needs a model of WanVideoWrapper$"):
        wrapper.watched(nodes, unet)


def test_each_clone_has_a_view_of_its_own_of_one_class(nodes, model):
    from wanattn.nodes.wrapper.view import inside, real_of

    real = model.model.diffusion_model
    first, second = (wrapper.watched(nodes, model) for _ in range(2))
    views = [clone.model.diffusion_model for clone in (first, second)]

    assert type(views[0]) is type(views[1]) is not type(real)
    assert type(first.model) is type(second.model) is not type(model.model)
    named = [(k.__name__, k.__module__, k.__qualname__, k.__doc__) for k in map(type, views)]
    kind = type(real)
    assert named == [(kind.__name__, kind.__module__, kind.__qualname__, kind.__doc__)] * 2
    assert all(isinstance(view, kind) and view.blocks is real.blocks for view in views)
    assert [real_of(view) for view in (*views, real)] == [real] * 3
    assert [inside(one.model) for one in (model, first, second)] == [real] * 3
    assert model.model.diffusion_model is real and real_of(first.model) is model.model


def test_a_second_sampler_ends_the_run_of_the_first(nodes, model):
    seen = wrapper.watched(nodes, model)
    recorder = tap_of(seen).recorder
    held = seen.model.diffusion_model
    forward(held)
    first = recorder.run
    assert first.state == "running"
    other = seen.model.diffusion_model
    forward(other)
    second = recorder.run
    assert (first.state, second.state) == ("finished", "running")
    del held
    assert second.state == "running"
    del other
    assert (second.state, first.calls, second.calls) == ("finished", 4, 4)


def test_only_the_last_backend_decides_and_the_one_before_says_so(nodes, model):
    first = wrapper.backed(nodes, model, "math", at="10")
    both = wrapper.watched(nodes, wrapper.backed(nodes, first, "efficient", at="11"))
    sample(both)

    notes = {tap.node: LATER in tap.notes() for tap in both.get_attachment("wanattn")}
    assert notes == {"10": True, "11": False, "20": False}
    sample(first)
    assert LATER not in tap_of(first).notes()


def test_rules_that_leave_all_to_the_host_are_told_as_met(nodes, model):
    rules = chained(nodes, ("self", "1", "", "host"))
    left = wrapper.backed(nodes, model, "host", rules=rules)
    sample(left)

    (rule,) = [note for note in tap_of(left).notes() if note.startswith("rule")]
    assert "no such call" not in rule


@pytest.mark.parametrize(("mode", "told"), [("sdpa", 0), ("sparge_tuned", 1)])
def test_a_mode_that_is_not_seen_is_named(nodes, mode, told):
    model = loaded()
    model.model.diffusion_model.attention_mode = mode
    text = nodes.report(wrapper.watched(nodes, model)).text

    assert text.count(f"attention of the mode {mode} is not seen") == told


def test_a_failure_is_told_until_the_next_run(nodes, model):
    seen = wrapper.watched(nodes, model)
    block = model.model.diffusion_model.blocks[1]
    hook = block.register_forward_pre_hook(lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sample(seen)
    hook.remove()
    failed = nodes.report(seen).payload
    sample(seen)
    finished = nodes.report(seen).payload

    assert (failed["state"], finished["state"]) == ("failed", "finished")
    assert "ZeroDivisionError" in str(failed["failure"]) and "failure" not in finished


FILES = ("__init__.py", "wanvideo/modules/attention.py", "wanvideo/modules/model.py")


@pytest.fixture
def packs(comfy, tmp_path, monkeypatch):
    """Folders of packs, of which one is not there."""
    import folder_paths

    roots = [tmp_path / name for name in ("gone", "one", "two")]
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda kind: [str(r) for r in roots])

    def packs(name, files=FILES):
        for file in files:
            path = roots[2] / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    roots[1].mkdir()
    (roots[1] / "a file.py").touch()
    return packs


@pytest.mark.parametrize(
    ("name", "files", "there"),
    [
        ("anything", FILES, True),
        ("anything.disabled", FILES, False),
        ("anything", FILES[:2], False),
        ("anything", FILES[1:], False),
    ],
)
def test_the_wrapper_is_known_by_its_files_and_nodes_take_its_models_then(
    packs, name, files, there
):
    from comfy_api.latest import io
    from wanattn.nodes.wrapper.installed import any_model, installed

    packs(name, files)
    plain = io.Model.Input("model")

    assert installed() == there
    assert (any_model(plain) is plain) == (not there)
    assert ("WANVIDEOMODEL" in any_model(plain).get_io_type()) == there
