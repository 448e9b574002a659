"""What an actor is sent: a function that finds the pack where the actor is, in a Python that has not loaded it."""

from __future__ import annotations

import re
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from pathlib import Path

import pytest
import wanattn
from wanattn.nodes.raylight.sent import FOLDER, sent


@pytest.fixture
def without(monkeypatch):
    """As in an actor: the pack is neither loaded nor installed."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if is_ours(name)}
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [BuiltinImporter, FrozenImporter, PathFinder])
    yield
    for name in [name for name in sys.modules if is_ours(name)]:
        del sys.modules[name]
    sys.modules.update(kept)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "wanattn"


def pack(folder: Path, word: str) -> Path:
    """A pack with an entry that says which one it is."""
    room = folder / "nodes" / "raylight"
    room.mkdir(parents=True)
    for each in (folder, folder / "nodes", room):
        (each / "__init__.py").write_text("")
    (room / "rank.py").write_text(f"def take(model, *given):\n    return {word!r}, model, given\n")
    return folder


def test_the_pack_is_taken_from_its_folder(without, tmp_path):
    run = sent("take", str(pack(tmp_path / "one", "one")))
    assert run("model", 1, 2) == ("one", "model", (1, 2))


def test_one_that_is_loaded_is_not_loaded_again(without, tmp_path):
    sent("take", str(pack(tmp_path / "one", "one")))("model")
    run = sent("take", str(pack(tmp_path / "two", "two")))
    assert run("model") == ("one", "model", ())


def test_where_the_folder_is_not_it_is_the_installed_one(without, tmp_path, monkeypatch):
    pack(tmp_path / "site" / "wanattn", "installed")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    run = sent("take", str(tmp_path / "nowhere"))
    assert run("model", 1) == ("installed", "model", (1,))


def test_no_pack_at_all_is_told_in_one_sentence(without, tmp_path):
    folder = tmp_path / "nowhere"
    sentence = (
        "Wan Attention not found by a Ray actor (No module named 'wanattn'), needs its folder at "
        f"{folder} or the package wanattn in the actor's Python"
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(sentence)}$"):
        sent("take", str(folder))("model")


def test_the_folder_is_that_of_this_pack():
    assert Path(FOLDER) == Path(wanattn.__file__).resolve().parent
