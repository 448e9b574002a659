from __future__ import annotations

import os
from pathlib import Path

import pytest
from wanattn.attention.filename import explained, trouble


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("results.csv", ""),
        ("null.csv", ""),
        ("com.csv", ""),
        ("nul.csv", "the name 'nul.csv' is a device's on Windows, needs another"),
        ("Aux", "the name 'Aux' is a device's on Windows, needs another"),
        ("COM1 .old.csv", "the name 'COM1 .old.csv' is a device's on Windows, needs another"),
        ("a?b*.csv", "the name 'a?b*.csv' holds *?, which Windows keeps for itself"),
        ("run.csv.", "the name 'run.csv.' ends in a dot or a space, which Windows leaves out"),
    ],
)
def test_a_name_that_windows_does_not_keep_is_told_there_alone(name, told):
    assert trouble(Path(name), windows=True) == told
    assert trouble(Path(name), windows=False) == ""


def test_a_path_that_is_too_long_for_windows_is_told_so():
    error = OSError(2, "No such file or directory")
    long = Path(os.sep, *["folder" * 10] * 5, "a.csv")

    assert explained(error, long, windows=False) == "No such file or directory"
    assert explained(error, Path("a.csv"), windows=True) == "No such file or directory"
    told = explained(error, long, windows=True)
    assert f"the path has {len(os.path.abspath(long))} letters, and Windows takes 259" in told
