"""What goes to the registry: the right files, nothing that its scanner refuses, and a true pyproject."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pathspec
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = {".py", ".js", ".css", ".json", ".md", ".toml", ".yml", ".txt", ".html", ""}

# The scanner matches text, in prose and strings too.
REFUSED = {
    "process environment": r"\bos\.environ\b|\bgetenv\(",
    "child process": r"\bsubprocess\b|\bos\.system\(|\bos\.popen\b|\bsudo\b",
    "network": (
        r"\brequests\.(get|post)\(|urllib\.request|\burlopen\(|http\.client|ClientSession|socket\.socket\("
        r"|\.create_connection\(|\.connect\(|\.bind\(|\.send\(|\.sendall\(|\.recv\(|XMLHttpRequest"
        r"|\bfetch\((?!new URL\(\w+, import\.meta\.url\))"  # but for the pack's own files
        r"|raw\.githubusercontent\.com|\b(curl|wget|ffmpeg)\b"
    ),
    "code from text": r"\beval\(|\bexec\(|__import__\(|\bimport_module\(|\bnew Function\(",
    "foreign objects": r"\bpickle\b|\bmarshal\b|\bsqlite3\b|\bgettempdir\b",
}
MACHINE_PATH = re.compile(r"(?<![\w.~])/(root|work|Users/\w+|home/\w+)/|\b[A-Z]:\\\\?Users\\")


def ignored(name: str) -> pathspec.PathSpec:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return pathspec.GitIgnoreSpec.from_lines(lines)


def tracked() -> list[str]:
    """Every file that is or would be in git; a copy without git is walked."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return [name for name in names if (ROOT / name).is_file()]
    return list(walked())


def walked() -> Iterator[str]:
    """Folders that git ignores are not entered: a virtual environment holds thousands of files."""
    skip = ignored(".gitignore")
    for place, folders, files in os.walk(ROOT):
        inside = Path(place).relative_to(ROOT)
        folders[:] = [
            name
            for name in folders
            if name != ".git" and not skip.match_file(f"{(inside / name).as_posix()}/")
        ]
        names = ((inside / name).as_posix() for name in files if name != ".git")
        yield from (name for name in names if not skip.match_file(name))


def published() -> list[str]:
    """The files of the archive, chosen as comfy-cli chooses them."""
    skip = ignored(".comfyignore")
    return sorted(name for name in tracked() if not skip.match_file(name))


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def texts(names: list[str]) -> list[str]:
    return [name for name in names if Path(name).suffix in TEXT]


def test_archive_holds_the_pack_and_nothing_else():
    names = published()

    tops = {name.partition("/")[0] for name in names}
    assert tops == {
        "__init__.py",
        "__main__.py",
        "version.py",
        "attention",
        "bench",
        "commands",
        "nodes",
        "web",
        "example_workflows",
        "locales",
        "subgraphs",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    }
    assert not [name for name in names if "test" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("what", REFUSED)
def test_archive_is_free_of(what):
    pattern = re.compile(REFUSED[what])
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in texts(published())
        for number, line in enumerate(text_of(name).splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("process environment", "home = os.environ['HOME']"),
        ("child process", "import subprocess"),
        ("network", "this.draw = this.draw.bind(this)"),
        ("network", "socket.connect(address)"),
        ("network", "await fetch('/prompt')"),
        ("code from text", "model.eval()"),
        ("code from text", "importlib.import_module(name)"),
        ("foreign objects", "import pickle"),
    ],
)
def test_the_patterns_catch_what_the_scanner_refuses(what, line):
    assert re.search(REFUSED[what], line)


def test_page_scripts_are_written_by_hand():
    scripts = [name for name in published() if name.endswith((".js", ".css"))]
    assert not [name for name in scripts if max(map(len, text_of(name).splitlines())) > 200]


def test_no_file_names_a_path_of_someones_machine():
    found = [name for name in texts(tracked()) if MACHINE_PATH.search(text_of(name))]
    assert not found


def test_python_files_can_be_read_as_cp1252():
    """Old Windows tools open source files in the system's code page."""
    for name in (name for name in tracked() if name.endswith(".py")):
        text_of(name).encode("cp1252")


def test_registry_facts():
    project, comfy = PROJECT["project"], PROJECT["tool"]["comfy"]

    assert project["name"] == "wanattn"
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["license"] == {"file": "LICENSE"}
    assert project["urls"]["Repository"] == "https://github.com/wanattn/wanattn"
    assert comfy["DisplayName"] == "Wan Attention"
    assert comfy["requires-comfyui"] == ">=0.8.0"
    assert comfy["PublisherId"]
    assert "web" not in comfy  # WEB_DIRECTORY names it; both together load every script twice


def test_accelerators_and_systems_are_spelled_as_the_registry_expects():
    kinds = ("Operating System :: ", "Environment :: GPU :: ")
    known = {
        "Operating System :: OS Independent",
        "Environment :: GPU :: NVIDIA CUDA",
        "Environment :: GPU :: AMD ROCm",
        "Environment :: GPU :: Intel Arc",
        "Environment :: GPU :: Apple Metal",
    }
    given = {name for name in PROJECT["project"]["classifiers"] if name.startswith(kinds)}
    assert given <= known


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]

    assert f'__version__ = "{version}"' in text_of("version.py")
    assert f"## [{version}]" in text_of("CHANGELOG.md")


def test_packages_are_the_published_folders_with_python():
    folders = {Path(name).parent for name in published() if name.endswith(".py")}
    packages = {".".join(("wanattn", *folder.parts)) for folder in folders}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages


def test_every_node_has_a_help_page_and_no_page_is_left_over():
    nodes = "\n".join(
        text_of(name) for name in published() if re.fullmatch(r"nodes/(\w+/)?\w+\.py", name)
    )
    ids = set(re.findall(r'node_id="(\w+)"', nodes))

    assert ids
    assert {path.stem for path in (ROOT / "web" / "docs").glob("*.md")} == ids


def test_json_files_are_valid():
    for name in tracked():
        if name.endswith(".json"):
            json.loads(text_of(name))
