"""The payload against its documented schema, which the page's tests read too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wanattn.attention.choose.forecast import Forecast
from wanattn.attention.choose.policy import Policy
from wanattn.attention.environment import probe
from wanattn.attention.record.record import Record
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.report.bounds import bounded
from wanattn.attention.report.payload import payload_of
from wanattn.attention.report.ranks import Part, merged
from wanattn.attention.run.intercept import Intercept

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema not installed")

FIXTURES = Path(__file__).parents[2] / "web" / "fixtures"
NAMES = ["small", "expert", "running", "large", "hostile", "lying", "idle", "two_devices", "every"]


def read(name: str) -> dict:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(read("payload.schema"))


def faults(schema, payload: dict) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(payload)]


@pytest.mark.parametrize("name", NAMES)
def test_fixture_follows_the_schema(schema, name):
    assert faults(schema, read(name)) == []


@pytest.mark.parametrize("backend", ["auto", "cudnn", "math", "host"])
def test_a_real_run_follows_the_schema(schema, tensors, backend):
    payload = recorded(tensors, backend)

    assert payload["calls"] == 4
    assert faults(schema, payload) == []
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload


def test_fields_of_a_real_run_are_the_documented_ones(schema, tensors):
    payload, documented = recorded(tensors, "cudnn"), schema.schema["properties"]

    assert set(schema.schema["required"]) <= set(payload) <= set(documented)
    for part in ("rows", "runs", "fallbacks", "grid"):
        fields = documented[part]["items"]
        assert set(fields["required"]) <= set(payload[part][0]) <= set(fields["properties"]), part


def test_the_schema_notices_a_missing_field(schema):
    payload = read("small")
    del payload["rows"][0]["evidence"]

    assert faults(schema, payload) == ["$.rows[0]: 'evidence' is a required property"]


def fields(value, path: str = "") -> set[str]:
    """Every name in a value, with those that it stands in before it."""
    if isinstance(value, list):
        return set().union(*(fields(item, path) for item in value))
    if not isinstance(value, dict):
        return set()
    inner = (fields(item, f"{path}.{name}") for name, item in value.items())
    return set().union({f"{path}.{name}" for name in value}, *inner)


def documented(schema: dict, path: str = "") -> set[str]:
    """Those that the schema names."""
    inner = schema.get("items")
    if inner:
        return documented(inner, path)
    parts = schema.get("properties", {})
    own = {f"{path}.{name}" for name in parts}
    return own.union(*(documented(part, f"{path}.{name}") for name, part in parts.items()))


def shut(payload: dict) -> dict:
    """Without the names of machines and backends, which are no fields."""
    return {**payload, "environment": {}, "totals": {}, "left_out": {}}


def test_one_fixture_has_every_documented_field(schema):
    """The page's tests draw it, and look for each of its fields in the page's own schema."""
    assert fields(shut(read("every"))) == documented(schema.schema)


def test_no_field_is_sent_that_is_not_documented(schema, tensors):
    payload = recorded(tensors, "cudnn")
    facts = {"device": "cpu", "card": "a card", "mode": "Ulysses 2", "measuring_ms": 1.5}
    ranks = merged([Part(1, rank, facts, payload) for rank in (0, 1)], "7")

    for sent in (payload, ranks, bounded(payload, 3000)):
        assert fields(shut(sent)) <= documented(schema.schema)
    assert {".devices.card", ".devices.measuring_ms", ".rows.rank"} <= fields(ranks)


def test_a_forecast_and_its_documentation_have_the_same_fields(schema, make_call):
    told = Forecast(make_call(), "auto", "flash", "measured here").plain()

    assert {f".forecast.{name}" for name in told} == fields(
        {
            "forecast": [
                dict.fromkeys(schema.schema["properties"]["forecast"]["items"]["properties"])
            ]
        }
    ) - {".forecast"}


def recorded(tensors, backend: str) -> dict:
    """Four self-attention calls: two steps of two blocks."""
    q, k, v = tensors()
    with Intercept(Policy(backend)) as host:
        run = host.recorder.begin("job", steps=2)
        for host.forward.step in range(2):
            host.recorder.forward(host.forward.step)
            for host.block in range(2):
                attend(q, k, v)
        host.recorder.end(run, "finished")
    environment = {"wanattn": "0.1.0", **probe().facts()}
    return payload_of(
        host.recorder.snapshot(), environment, node="12", model={"class": "Wan", "wan": True}
    )


def attend(q, k, v):
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(q, k, v)


def test_a_call_s_rate_is_told_to_three_digits_and_a_cell_without_a_call_is_empty(make_call):
    call, recorder = make_call(), Recorder()
    recorder.begin("job", steps=1)
    recorder.add(Record(call, "auto", "flash", "forced", milliseconds=400.0, step=0, block=1))
    recorder.miss("made elsewhere", "self")  # a call that nobody could see
    payload = payload_of(recorder.snapshot(), {})

    assert payload["account"]["calls"] == 2
    assert payload["rows"][0]["tflops"] == pytest.approx(call.flops / 0.4 / 1e12, rel=2e-3)
    assert [grid["row"] for grid in payload["grid"]] == [[[-1, 0]]]
