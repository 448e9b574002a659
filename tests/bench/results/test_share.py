"""What people publish holds the figures and nothing about them."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import pytest
from wanattn.bench.results import share
from wanattn.tests.bench.made import results, row

ROOT = Path(__file__).resolve().parents[3]
SECRET = "D:\\films\\mara\\video.json"


def measured(**changes):
    """A result whose every free text names somebody's folder."""
    mine = row("flash", 400.0, settings=SECRET, active=SECRET)
    made = results(
        mine, row("cudnn", 240.0), row("fa4", reason=SECRET), row("flash", 9.0, model=SECRET)
    )
    made.environment |= {
        "started": "2026-11-25T18:00:00+00:00",
        "comfyui": SECRET,
        "host": "mara-pc",
    }
    made.environment |= {
        "gpu": "NVIDIA GeForce RTX 5090",
        "driver": "581.80",
        "sageattention": "2.2.0",
    }
    made.notes.append(SECRET)
    made.diagnostics.append({"path": SECRET})
    return dataclasses.replace(made, **changes)


def test_the_file_holds_the_figures_and_no_name(tmp_path):
    share.write(measured(), tmp_path / "a.json")

    text = (tmp_path / "a.json").read_text()
    assert "mara" not in text
    found = share.read(tmp_path / "a.json")
    assert (found["date"], found["machine"]["gpu"]) == ("2026-11-25", "NVIDIA GeForce RTX 5090")
    assert found["machine"]["driver"] == "581.80" and found["packages"]["sageattention"] == "2.2.0"
    assert [(row["backend"], row["ms"]) for row in found["rows"]] == [
        ("flash", 400.0),
        ("cudnn", 240.0),
    ]


def test_what_names_nodes_or_holds_no_times_is_refused():
    with pytest.raises(ValueError, match="bench workflow names your own nodes"):
        share.shared(measured(benchmark="workflow"))
    with pytest.raises(ValueError, match="nothing to share"):
        share.shared(results(row("fa4", reason="not installed")))


@pytest.mark.parametrize("place", ["top", "machine", "row"])
def test_a_file_that_says_more_is_refused(tmp_path, place):
    data = share.shared(measured())
    {"top": data, "machine": data["machine"], "row": data["rows"][0]}[place]["path"] = SECRET
    (tmp_path / "a.json").write_text(json.dumps(data))

    with pytest.raises(ValueError, match=r"a\.json holds path, which no shared result does"):
        share.read(tmp_path / "a.json")


def test_the_table_is_made_of_the_files_beside_it():
    """After a change: python tools/results_table.py."""
    tool = runpy.run_path(str(ROOT / "tools" / "results_table.py"))

    assert (ROOT / "docs/results/README.md").read_text(encoding="utf-8") == tool["table"](
        (ROOT / "docs/results").glob("*.json")
    )
