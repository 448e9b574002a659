"""wanattn bench kernels with a real ComfyUI: its own attention functions run in the race."""

from __future__ import annotations

import json

import pytest
from wanattn.tests.host.hosts import current_host, version_of

TINY = ["--device", "cpu", "--size", "64x64", "--frames", "5", "--repeat", "2", "--json"]


@pytest.fixture
def bench(comfy, monkeypatch, capsys):
    """The command's JSON. Measurements are short: what is tested here is not how exact they are."""
    pytest.importorskip("wanattn.nodes.host.program")
    from wanattn.bench.race import race, rate, rounds
    from wanattn.commands import main as cli

    monkeypatch.setattr(race, "WARM_UP", 0.0)
    monkeypatch.setitem(rate.SIDES, "cpu", 128)
    for module in (rate, rounds):
        monkeypatch.setattr(module, "BURST", 2.0)

    def bench(*arguments):
        code = cli.main(["bench", "kernels", *TINY, *arguments])
        return code, json.loads(capsys.readouterr().out)

    return bench


def test_host_s_own_functions_are_measured_and_right(bench):
    code, found = bench("--comfyui", str(current_host()))

    rows = {(row["part"], row["backend"]): row for row in found["rows"]}
    names = ("host", "sub_quad", "split", "flash", "math")
    assert code == 0
    assert list(rows) == [(part, name) for part in ("self", "text") for name in names]
    assert all(len(row["times"]) == 2 and row["error"] < 1e-5 for row in rows.values())
    assert rows["self", "host"]["active"] == "flash"
    assert rows["self", "sub_quad"]["active"] == "sub_quad"
    assert found["baseline"] == "host"
    assert found["environment"]["comfyui"] == version_of(current_host())


def test_named_ones_alone(bench):
    folder = ["--comfyui", str(current_host())]

    _, found = bench("--backends", "split,flash", "--roles", "text", *folder)

    assert [row["backend"] for row in found["rows"]] == ["split", "flash"]
    assert found["baseline"] == "flash"
