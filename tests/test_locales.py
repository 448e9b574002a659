"""The translations know every node, input and setting of today, and nothing else."""

import json
import re

import pytest
from wanattn.tests.test_workflows import ROOT, SCHEMAS

LOCALES = ROOT / "locales"
LANGUAGES = sorted(path.name for path in LOCALES.iterdir() if path.name != "en")


def translated(language: str, name: str) -> dict:
    return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))


def test_chinese_japanese_and_one_more_are_there():
    assert {"zh", "ja"} < set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_and_input_has_a_name(language):
    nodes = translated(language, "nodeDefs")

    assert {node: set(told["inputs"]) for node, told in nodes.items()} == {
        node: {name for _, name in inputs} for node, inputs in SCHEMAS.items()
    }
    assert all(told["display_name"] and told["description"] for told in nodes.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_setting_and_command_has_a_name(language):
    settings = (ROOT / "web" / "views" / "settings.js").read_text(encoding="utf-8")
    shown = set(re.findall(r'= "(wanattn\.\w+\.\w+)"', settings))
    commands = (ROOT / "web" / "views" / "commands.js").read_text(encoding="utf-8")
    known = set(re.findall(r'= "(wanattn\.\w+)"', commands))

    assert set(translated(language, "settings")) == {name.replace(".", "_") for name in shown}
    assert set(translated(language, "commands")) == {name.replace(".", "_") for name in known}


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_every_node_has_a_help_page(language):
    pages = {path.parent.name for path in (ROOT / "web" / "docs").glob(f"*/{language}.md")}

    assert pages == set(SCHEMAS)
