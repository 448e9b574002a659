"""Where the nodes for Raylight are offered: it is installed, or a pack that the host has yet to load."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from types import ModuleType

import pytest


@pytest.fixture
def without(comfy, monkeypatch, tmp_path):
    """A host with an empty folder for packs, in a Python without Raylight."""
    import folder_paths

    folders = [str(tmp_path / "not there"), str(tmp_path / "packs")]
    (tmp_path / "packs").mkdir()
    monkeypatch.setattr(folder_paths, "get_folder_paths", {"custom_nodes": folders}.__getitem__)
    monkeypatch.delitem(sys.modules, "raylight", raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    return tmp_path / "packs"


def here() -> bool:
    from wanattn.nodes.raylight.present import raylight_is_here

    return raylight_is_here()


def test_without_raylight_there_is_no_node(without):
    assert here() is False
    (without / "another pack").mkdir()
    assert here() is False


def test_raylight_that_is_loaded_is_found(without, monkeypatch):
    monkeypatch.setitem(sys.modules, "raylight", ModuleType("raylight"))
    assert here() is True


def test_raylight_that_can_be_imported_is_found(without, monkeypatch, tmp_path):
    (tmp_path / "site" / "raylight").mkdir(parents=True)
    (tmp_path / "site" / "raylight" / "__init__.py").write_text("raise AssertionError")
    importlib.invalidate_caches()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    assert here() is True


@pytest.mark.parametrize(
    "name, found",
    [
        ("raylight", True),
        ("raylight.fork", True),
        ("raylight-1.5.1", True),
        ("raylight.disabled", False),
    ],
)
def test_a_pack_that_the_host_has_yet_to_load_is_found(without, name, found):
    source = without / name / "src" / "raylight"
    source.mkdir(parents=True)
    assert here() is False
    (source / "nodes.py").touch()
    assert here() is found
