"""The benchmark's payload against its documented schema, which the page's tests read too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from wanattn.attention.backends import BACKENDS
from wanattn.attention.wan import Variant, Video
from wanattn.bench.race.case import cases_of
from wanattn.bench.race.race import race
from wanattn.bench.results.payload import payload
from wanattn.bench.results.row import Results, Row
from wanattn.tests.web import make_bench

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema not installed")

FIXTURES = Path(__file__).parents[2] / "web" / "fixtures"
MADE = {
    "finished": make_bench.finished,
    "running": make_bench.running,
    "hostile": make_bench.hostile,
}


def read(name: str) -> dict:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(read("bench.schema"))


@pytest.fixture(scope="module")
def real():
    """Flash, math and one that cannot run, at 32 tokens."""

    class Quiet:
        def begin(self, total):
            pass

        def advance(self, units, what):
            pass

    results = Results("kernels", {"gpu": None}, "math")
    cases = cases_of(Variant("tiny", 2, 2, 16), [Video(64, 64, 5)], torch.float32, "cpu")
    race(cases, [BACKENDS[name] for name in ("flash", "math", "cudnn")], results, Quiet(), rounds=2)
    return results


def faults(schema, made: dict) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(made)]


@pytest.mark.parametrize("name", MADE)
def test_fixture_is_what_the_pack_makes_and_follows_the_schema(schema, name):
    made = MADE[name]()

    assert faults(schema, made) == []
    assert read(f"bench_{name}") == json.loads(json.dumps(made, allow_nan=False))


def test_a_real_race_follows_the_schema(schema, real):
    made = payload(real, "finished", "12", [(real.rows[0].place, "flash")], "answer", "text")

    assert faults(schema, made) == []
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert [place["title"] for place in made["places"]] == [
        "self 32 tokens, 5 frames",
        "text 32 x 512 tokens, 5 frames",
    ]
    first = {row["backend"]: row for row in made["places"][0]["rows"]}
    assert first["flash"]["kept"] and not first["math"]["kept"]
    assert first["math"]["speedup"] == 1
    assert first["flash"]["speedup"] == first["math"]["ms"] / first["flash"]["ms"]
    assert first["flash"]["low"] <= first["flash"]["ms"] <= first["flash"]["high"]
    assert first["cudnn"]["ms"] is None and "cpu" in first["cudnn"]["reason"]


def test_fields_are_the_documented_ones(schema, real):
    made, documented = payload(real, "running"), schema.schema["properties"]

    place = documented["places"]["items"]["properties"]
    assert set(made) == set(documented)
    assert set(made["places"][0]) == set(place)
    assert set(made["places"][0]["rows"][0]) == set(place["rows"]["items"]["properties"])


def test_what_json_cannot_say_is_left_out():
    row = Row("kernels", "sage", "self", times=[1.0], error=float("inf"), reason="not finite")
    made = payload(Results("kernels", {}, "sage", [row]), "finished")

    (shown,) = made["places"][0]["rows"]
    assert shown["error"] is None and shown["reason"] == "not finite"
    assert not shown["exact"]
    json.dumps(made, allow_nan=False)
