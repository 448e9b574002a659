"""The stand-alone report as a file: the page saves the same one, and every payload fits into it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from wanattn.attention.report.html import render

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPOSE = """
import { readFileSync } from "node:fs";
import { MODULES, compose } from "./web/standalone.js";
const read = name => readFileSync(`web/${name}`, "utf8");
const sources = Object.fromEntries(MODULES.map(name => [name, read(`report/${name}`)]));
process.stdout.write(compose(read("report.html"), sources, JSON.parse(readFileSync(0, "utf8"))));
"""


def fixture(name: str) -> dict:
    return json.loads((HERE / "fixtures" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_pages_own_save_writes_the_same_file():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node not found")
    payload = fixture("hostile")
    command = [node, "--input-type=module", "--eval", COMPOSE]
    made = subprocess.run(
        command, cwd=ROOT, input=json.dumps(payload).encode(), capture_output=True, check=True
    )

    ours, theirs = render(payload), made.stdout.decode()
    assert [part_of(ours, "importmap"), without_payload(ours)] == [
        part_of(theirs, "importmap"),
        without_payload(theirs),
    ]
    assert (
        json.loads(part_of(theirs, "application/json"))
        == payload
        == json.loads(part_of(ours, "application/json"))
    )


def test_numbers_that_json_lacks_become_null():
    assert json.loads(
        part_of(render({"a": [float("nan"), float("inf"), 1.5]}), "application/json")
    ) == {"a": [None, None, 1.5]}


def part_of(page: str, kind: str) -> str:
    return re.search(f'type="{kind}"[^>]*>([^<]*)</script>', page)[1]


def without_payload(page: str) -> str:
    return page.replace(part_of(page, "application/json"), "")
