"""Some minutes of the soak, with faults, kills, threads and hostile files: WANATTN_SOAK_MINUTES, 5 where it is not set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from wanattn.tests.host.conftest import HOST
from wanattn.tests.host.hosts import REPOSITORY, version_of

OLDEST = "0.8.0"
MINUTES = float(os.environ.get("WANATTN_SOAK_MINUTES", "5"))


@pytest.mark.skipif(
    version_of(HOST) == OLDEST, reason="takes minutes, and is run on the newer host of two"
)
def test_a_soak_finds_no_lie_no_lost_file_no_wrong_backend_and_no_growth(tmp_path):
    table = tmp_path / "table.md"
    command = [sys.executable, "-m", "tools.soak", "--minutes", str(MINUTES)]

    ended = subprocess.run(
        [*command, "--comfyui", str(HOST), "--table", str(table)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=MINUTES * 60 + 1200,
    )

    assert ended.returncode == 0, f"{ended.stdout[-6000:]}\n{ended.stderr[-2000:]}"
    assert "| all |" in table.read_text(encoding="utf-8")
