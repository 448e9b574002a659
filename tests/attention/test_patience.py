from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from wanattn.attention import patience
from wanattn.attention.patience import patiently


def refusing(times: int):
    asked = []

    def act(word):
        asked.append(word)
        if len(asked) <= times:
            raise PermissionError(13, "Permission denied")
        return word.upper()

    return act, asked


def test_a_file_that_somebody_has_open_is_waited_for_on_windows_alone():
    act, asked = refusing(3)
    assert patiently(act, "x", windows=True) == "X" and len(asked) == 4

    act, asked = refusing(1)
    with pytest.raises(PermissionError):
        patiently(act, "x", windows=False)
    assert len(asked) == 1


def test_the_patience_has_an_end(monkeypatch):
    monkeypatch.setattr(patience, "SECONDS", 0.02)
    act, asked = refusing(10**9)

    with pytest.raises(PermissionError):
        patiently(act, "x", windows=True)
    assert len(asked) > 1


def test_other_errors_come_at_once():
    with pytest.raises(FileNotFoundError):
        patiently(open, "absent", windows=True)


READER = textwrap.dedent("""
    import sys, time
    with open(sys.argv[1]) as held:
        print("open", flush=True)
        time.sleep(0.5)
""")


def test_a_file_that_another_process_reads_is_replaced(tmp_path):
    """Windows refuses that for as long as it is open."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    new.write_text("new")
    reader = subprocess.Popen([sys.executable, "-c", READER, old], stdout=subprocess.PIPE)
    assert reader.stdout.readline().strip() == b"open"

    patiently(os.replace, new, old)

    assert old.read_text() == "new" and not new.exists()
    reader.wait(timeout=30)
