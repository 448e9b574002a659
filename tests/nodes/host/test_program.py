"""Where a ComfyUI is found, what it would take by default, and what importing it leaves behind."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from wanattn.nodes.host import program

ROOT = Path(program.__file__).resolve().parents[2]


def put_host(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text('__version__ = "0.33.0"', encoding="utf-8")
    return folder


def test_a_given_folder_must_be_a_comfyui(tmp_path):
    assert program.find_host(put_host(tmp_path / "host")) == tmp_path / "host"
    for name in ("main.py", "comfyui_version.py"):
        folder = put_host(tmp_path / f"without {name}")
        (folder / name).unlink()
        with pytest.raises(ValueError) as raised:
            program.find_host(folder)
        expected = "expected a folder with main.py and comfyui_version.py"
        assert str(raised.value) == f"no ComfyUI in '{folder}'; {expected}"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A machine without any ComfyUI: the pack, the current folder, the Python and the user's folder are apart."""
    pack = tmp_path / "host" / "custom_nodes" / "pack"
    for folder in (pack, tmp_path / "work" / "deep", tmp_path / "home"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(program, "__file__", str(pack / "nodes" / "host" / "program.py"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "portable" / "python" / "python.exe"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.chdir(tmp_path / "work" / "deep")
    return tmp_path


def test_it_is_looked_for_from_the_pack_outwards(empty):
    places = [
        empty / "host" / "custom_nodes",
        empty / "host",
        empty / "work" / "deep",
        empty / "work",
        empty / "portable" / "ComfyUI",
        empty / "work" / "deep" / "ComfyUI",
        empty / "home" / "ComfyUI",
        empty / "home" / "comfy" / "ComfyUI",
    ]
    assert program.find_host() is None
    for place in places:
        put_host(place)
    for place in places:
        assert program.find_host().resolve() == place
        (place / "main.py").unlink()
    assert program.find_host() is None


@pytest.mark.parametrize(
    ("gpus", "cuda", "hip", "xformers", "expected"),
    [
        (["a card"], "12.8", "", True, "xformers"),
        (["a card"], "12.8", "", False, "pytorch"),
        ([], "12.8", "", True, "pytorch"),
        ([], "", "6.4", True, "pytorch on supported AMD cards, else sub_quad"),
        (["a card"], "", "6.4", False, "pytorch on supported AMD cards, else sub_quad"),
        ([], "", "", True, "sub_quad"),
        ([], "", "", False, "sub_quad"),
    ],
)
def test_what_it_takes_without_a_flag(monkeypatch, gpus, cuda, hip, xformers, expected):
    spec = {"xformers": object()} if xformers else {}
    monkeypatch.setattr(importlib.util, "find_spec", spec.get)

    assert program.host_default(SimpleNamespace(gpus=gpus, cuda=cuda, hip=hip)) == expected


@pytest.fixture
def importing(monkeypatch, tmp_path):
    """A folder to load, and what the path was while it was imported; `importing.error` breaks that."""
    noted = SimpleNamespace(folder=put_host(tmp_path / "host"), error=None, given=[])
    (noted.folder / "comfy").mkdir()

    def _import(*given):
        print("from a foreign program")
        noted.given.append((given, sys.path[:]))
        if noted.error:
            raise noted.error

    monkeypatch.setattr(program, "_import", _import)
    monkeypatch.setattr(sys, "path", ["", "/aside", str(ROOT), str(ROOT / "nodes"), "/~ aside"])
    monkeypatch.delitem(sys.modules, "comfyui_version", raising=False)
    yield noted
    sys.modules.pop("comfyui_version", None)


@pytest.mark.parametrize(("inside", "first"), [(False, [""]), (True, [])])
def test_its_folders_win_over_ours_while_it_is_loaded(
    importing, monkeypatch, capsys, inside, first
):
    monkeypatch.chdir(ROOT if inside else importing.folder.parent)

    program.load(importing.folder, cpu=False)
    program.load(importing.folder, True, nodes=False)

    path = [str(importing.folder), *first, "/aside", str(ROOT / "nodes"), "/~ aside"]
    assert importing.given[0] == ((False, True), path)
    assert importing.given[1][0] == (True, False)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "from a foreign program\n" * 2)


def test_a_comfyui_that_does_not_load_is_a_sentence_and_leaves_the_path_as_it_was(importing):
    before, importing.error = sys.path[:], KeyError("gone")

    with pytest.raises(RuntimeError) as raised:
        program.load(importing.folder, cpu=True)

    why = "ComfyUI 0.33.0 does not load in this Python (KeyError: 'gone')"
    assert str(raised.value) == f"{why}; run wanattn with ComfyUI's own Python"
    assert sys.path == before and raised.value.__cause__ is importing.error


def test_a_folder_without_it_is_not_loaded(importing):
    shutil.rmtree(importing.folder / "comfy")

    with pytest.raises(ValueError) as raised:
        program.load(importing.folder, cpu=True)

    assert (
        str(raised.value) == f"no ComfyUI in '{importing.folder}'; name its folder with --comfyui"
    )
    assert importing.given == []
