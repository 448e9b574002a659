"""What people publish holds the figures and nothing about them."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import pytest
from wanattn.bench.results import share
from wanattn.bench.results.row import Row
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


FACTS = sorted({*share.FACTS, "started", "wanattn", "comfyui", "device", "flash-attn", "fa3-fwd"})
COMPUTED = {"times", "flops", "error", "peak_gib"}  # numbers, or nothing could be computed
FIELDS = [field.name for field in dataclasses.fields(Row) if field.name not in COMPUTED]
SECRETS = [
    SECRET,
    "/mnt/mara/video",
    "mara@mara-pc",
    "\\\\mara-pc\\films",
    "2.11 of mara",
    "ssh://mara-pc",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", FACTS)
def test_no_fact_can_hold_a_path_a_host_or_a_user(name, secret):
    made = measured()
    made.environment[name] = secret

    assert "mara" not in json.dumps(share.shared(made))


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", FIELDS)
def test_no_field_of_a_row_can_hold_one_either(name, secret):
    made = measured()
    odd = dataclasses.replace(made.rows[0], **{name: secret})
    made.rows.append(odd)

    assert "mara" not in json.dumps(share.shared(made))


def test_a_real_machine_is_told_whole():
    real = {
        "gpu": "AMD Radeon RX 7900 XTX",
        "capability": "9.0",
        "memory_gib": 79.2,
        "driver": "580.159.04",
        "torch": "2.12.0a0+gitdeadbee",
        "cuda": "13.0",
        "hip": "6.4.43482-0f2d60242",
        "cudnn": "9.19.0",
        "platform": "Windows AMD64",
        "python": "3.13.0rc2",
    }
    made = measured()
    made.environment |= real

    assert share.shared(made)["machine"] == real


@pytest.mark.parametrize(
    "name",
    [
        "Intel(R) Arc(TM) B580 Graphics",
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "Apple M3 Max",
        "Tesla T4",
    ],
)
def test_a_card_is_named(name):
    made = measured()
    made.environment["gpu"] = name

    assert share.shared(made)["machine"]["gpu"] == name


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("machine", "gpu", "[x](http://mara-pc)"),
        ("machine", "memory_gib", "lots"),
        ("packages", "fa3-fwd", "C:\\mara"),
        ("packages", "mara", "1.0"),
        ("row", "size", "832x1216 | x"),
        ("row", "ms", "1"),
        ("row", "backend", "mara"),
        ("top", "date", "today"),
        ("top", "benchmark", "workflow"),
    ],
)
def test_a_file_with_a_value_of_another_kind_is_refused(tmp_path, place, name, value):
    data = share.shared(measured())
    {"top": data, "row": data["rows"][0]}.get(place, data.get(place))[name] = value
    (tmp_path / "a.json").write_text(json.dumps(data))

    with pytest.raises(ValueError, match=rf"a\.json holds {name}, which no shared result does"):
        share.read(tmp_path / "a.json")


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
