"""What a node asks for, and what may be asked of it here: saved workflows and graphs written by hand rely on both."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace

import pytest
import torch

TABLES = {
    "WanAttnBackend": {
        "model": ("required", {}),
        "backend": ("required", {"default": "auto"}),
        "on_refusal": ("required", {"default": "next best"}),
        "precision": ("optional", {"default": "exact", "advanced": True}),
        "max_error": (
            "optional",
            {"default": 0.03, "min": 0.001, "max": 0.5, "step": 0.001, "advanced": True},
        ),
        "other_packs": ("optional", {"default": "keep their kernels", "advanced": True}),
        "rules": ("optional", {}),
    },
    "WanAttnSchedule": {
        "rules": ("optional", {}),
        "first": ("required", {"default": 20.0, "min": 0.0, "max": 100.0, "step": 1.0}),
        "last": ("required", {"default": 10.0, "min": 0.0, "max": 100.0, "step": 1.0}),
        "approximate": ("required", {"default": "sage"}),
        "exact": ("required", {"default": "auto"}),
        "role": ("optional", {"default": "self", "advanced": True}),
    },
}
KINDS = {  # whether it runs again where an equal node has run, and whether it ends a graph
    "WanAttnBackend": (True, False),
    "WanAttnSchedule": (False, False),
}


@pytest.mark.parametrize("name", TABLES)
def test_inputs_and_their_limits(workbench, name):
    assert workbench.asked(name) == TABLES[name]


@pytest.mark.parametrize("name", KINDS)
def test_what_the_host_may_do_with_a_node(workbench, name):
    schema = workbench.nodes[name].GET_SCHEMA()
    assert (schema.not_idempotent, schema.is_output_node) == KINDS[name]


def test_words_to_search_for_are_given_where_the_host_knows_them(workbench):
    schema = workbench.nodes["WanAttnRule"].GET_SCHEMA()
    words = ["wan attention rule", "block", "step", "role", "per layer", "per step"]
    known = {field.name for field in dataclasses.fields(schema)}

    assert getattr(schema, "search_aliases", words) == words
    assert "search_aliases" in known or not hasattr(schema, "search_aliases")


@pytest.fixture
def dispatcher(load, workbench):
    """Of a node that is given no more than a saved workflow may have."""

    def dispatcher(**given):
        inputs = {"model": load("t2v"), "backend": "flash", "on_refusal": "stop", **given}
        (tap,) = workbench.run("WanAttnBackend", "10", **inputs)[0].get_attachment("wanattn")
        return tap.dispatcher

    return dispatcher


@pytest.mark.parametrize(("given", "error"), [({}, 0.03), ({"max_error": 0.1}, 0.1)])
def test_what_a_saved_workflow_leaves_out_has_its_default(dispatcher, given, error):
    made = dispatcher(**given)

    policy = made.policy
    assert (policy.backend, policy.on_refusal, policy.precision) == ("flash", "stop", "exact")
    assert (policy.max_error, made.takes_over) == (error, False)


@pytest.mark.parametrize(
    ("words", "over"), [(("take", "over"), True), (("keep", "their", "kernels"), False)]
)
def test_only_who_is_asked_to_takes_over(dispatcher, words, over):
    """A word from a file is not the very object that stands in the source."""
    assert dispatcher(other_packs=" ".join(words)).takes_over is over


def test_the_menu_knows_of_every_backend_whether_it_can_run_here(comfy):
    from wanattn.attention.backends import BACKENDS
    from wanattn.nodes.possible import possible

    told = possible()
    assert sorted([*told["here"], *told["lacking"]]) == sorted(BACKENDS)
    assert told["here"]["flash"] == BACKENDS["flash"].label
    assert told["lacking"]["cudnn"] == "cuDNN does not exist on cpu"
    assert possible() is told  # asked whenever a page loads, and nothing here changes


@pytest.mark.parametrize(
    ("device", "version", "kernel", "said"),
    [
        ("cuda:0", None, True, "Sage not installed: pip install it"),
        ("cuda:0", "2.2.0", True, ""),
        ("cpu", None, True, "one; another"),
        ("mps", "2.2.0", True, "one; another"),
        ("xpu:0", "2.2.0", True, "one; another"),
        ("cuda:0", None, False, "one; another"),
        ("cpu", None, False, "one; another"),
    ],
)
def test_a_call_as_wan_makes_them_is_asked_about(comfy, device, version, kernel, said):
    """A package's kernel on an NVIDIA card is not asked, since that would load it."""
    from wanattn.attention.backends import BACKENDS
    from wanattn.attention.call import Call
    from wanattn.nodes.possible import lack

    asked, machine = [], object()

    def refusals(call, environment):
        asked.append((call, environment))
        return ["one", "another"]

    package = SimpleNamespace(title="Sage", version=version, install=lambda on: "pip install it")
    changes = {"refusals": refusals, **({"package": package} if kernel else {})}
    backend = dataclasses.replace(BACKENDS["sage" if kernel else "flash"], **changes)

    assert lack(backend, device, machine) == said
    dtype = torch.bfloat16 if device == "cuda:0" else torch.float32
    call = Call("self", 1, 40, 256, 256, 128, dtype, device)
    assert asked == ([(call, machine)] if said == "one; another" else [])


@pytest.mark.parametrize("raylight", [True, False])
@pytest.mark.parametrize("wrapper", [True, False])
def test_nodes_for_other_packs_are_there_where_these_are(comfy, monkeypatch, raylight, wrapper):
    from wanattn.nodes import extension

    monkeypatch.setattr(extension, "raylight_is_here", lambda: raylight)
    monkeypatch.setattr(extension, "installed", lambda: wrapper)
    nodes = asyncio.run(extension.Extension().get_node_list())

    assert [node.GET_SCHEMA().node_id for node in nodes] == [
        "WanAttnBackend",
        "WanAttnRule",
        "WanAttnSchedule",
        "WanAttnDiagnostics",
        "WanAttnReport",
        "WanAttnBenchmark",
        *(["WanAttnRayBackend", "WanAttnRayReport"] if raylight else []),
        *(["WanAttnWrapperBackend", "WanAttnWrapperDiagnostics"] if wrapper else []),
    ]
