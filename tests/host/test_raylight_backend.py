"""Attention Backend (Raylight) as the host calls it, without Ray."""

from __future__ import annotations

import sys

import pytest
from wanattn.tests.host.local_actors import Actor, Ray


@pytest.fixture
def node(comfy, monkeypatch):
    from wanattn.nodes.raylight.backend import WanAttnRayBackend

    monkeypatch.setitem(sys.modules, "ray", Ray)
    return WanAttnRayBackend


def run(node, **inputs):
    from comfy_api.latest import io

    hidden = {"hidden_inputs": {io.Hidden.unique_id: "7"}}
    made = node.PREPARE_CLASS_CLONE(hidden)
    actors = {"workers": [Actor("0")]}
    return made.EXECUTE_NORMALIZED(ray_actors=actors, **inputs).result[0]["wanattn"]


def test_what_is_not_given_is_as_the_node_shows_it(node):
    session = run(node, backend="flash", on_refusal="stop")

    schema = node.GET_SCHEMA()
    shown = {each.id: each for each in schema.inputs}
    policy = session.settings.policy
    assert (session.node, policy.backend, policy.on_refusal) == ("7", "flash", "stop")
    assert policy.precision == shown["precision"].default == "exact"
    assert policy.max_error == shown["max_error"].default == 0.03
    assert session.settings.rules == ()
    needed = [name for name, each in shown.items() if not each.optional]
    assert needed == ["ray_actors", "backend", "on_refusal"]


def test_what_is_given_goes_with_the_wire(node):
    given = {"precision": "allow approximate", "max_error": 0.5}
    policy = run(node, backend="auto", on_refusal="next best", **given).settings.policy
    assert (policy.precision, policy.max_error) == ("allow approximate", 0.5)


def test_equal_nodes_have_sampler_calls_of_their_own(node):
    assert node.GET_SCHEMA().not_idempotent is True
