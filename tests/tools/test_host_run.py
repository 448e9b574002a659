"""The hosts' tests side by side: what failed there runs again alone, and counts if it fails there too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "host"


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    spec = importlib.util.spec_from_file_location("run_of_hosts", FOLDER / "run.py")
    assert spec and spec.loader
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    monkeypatch.setattr(command, "version_of", lambda host: host.name)
    return command


@pytest.fixture
def runs(command, monkeypatch):
    """What was run, (host, beside, whether only what failed last); `codes` are the exit codes of each host's runs."""
    made, codes = [], {}

    def run(host, arguments, beside):
        made.append((host.name, beside, "--last-failed" in arguments))
        return codes[host.name].pop(0)

    monkeypatch.setattr(command, "run", run)
    return made, codes


@pytest.mark.parametrize(
    ("first", "again", "failed"), [(0, [], []), (1, [0], []), (1, [1], ["old"]), (1, [5], ["old"])]
)
def test_what_failed_beside_others_has_the_last_word_alone(
    command, runs, tmp_path, first, again, failed
):
    made, codes = runs
    codes |= {"old": [first, *again], "new": [0]}

    assert command.run_all([Path("new"), Path("old")], [], tmp_path) == [Path(f) for f in failed]
    assert sorted(made[:2]) == [("new", 2, False), ("old", 2, False)]
    assert made[2:] == [("old", 1, True)] * len(again)


def test_one_host_has_one_try(command, runs, tmp_path):
    made, codes = runs
    codes["only"] = [1]

    assert command.run_all([Path("only")], ["-q"], tmp_path) == [Path("only")]
    assert made == [("only", 1, False)]
