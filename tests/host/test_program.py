"""A program that imports the real ComfyUI, as `wanattn bench` does."""

from __future__ import annotations

import itertools
import sys

import pytest
from wanattn.tests.host.hosts import current_host, version_of


@pytest.fixture
def program(comfy, monkeypatch):
    from wanattn.nodes.host import program

    monkeypatch.setattr(sys, "path", sys.path[:])
    return program


@pytest.mark.parametrize(("asked", "before"), [*itertools.product([False, True], repeat=2)])
def test_the_cpu_is_taken_where_either_side_asks_for_it(program, monkeypatch, asked, before):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "cpu", before)
    program.load(current_host(), asked, nodes=False)

    assert args.cpu is (asked or before)


@pytest.mark.parametrize("nodes", [True, False])
def test_the_nodes_are_imported_only_where_they_are_asked_for(program, monkeypatch, nodes):
    from wanattn import nodes as package

    monkeypatch.delattr(package, "extension", raising=False)
    monkeypatch.setitem(sys.modules, "wanattn.nodes.extension", None)  # nobody can import it
    loaded = True
    try:
        program.load(current_host(), True, nodes)
    except RuntimeError as error:
        assert f"ComfyUI {version_of(current_host())} does not load" in str(error)
        loaded = False

    assert loaded is not nodes


def test_its_own_attention_is_there_by_name(program):
    program.load(current_host(), True, nodes=False)
    functions = program.functions()

    assert {name: backend.name for name, backend in functions.items()} == {
        name: name for name in ("host", "sub_quad", "split")
    }
    labels = [backend.label for backend in functions.values()]
    assert labels == ["pytorch", "ComfyUI's sub-quadratic", "ComfyUI's split"]
