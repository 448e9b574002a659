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


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_a_help_page(language):
    pages = {path.parent.name for path in (ROOT / "web" / "docs").glob(f"*/{language}.md")}

    assert pages == set(SCHEMAS)


@pytest.mark.parametrize("node", SCHEMAS)
def test_a_help_page_tells_of_the_same_inputs_in_every_language(node):
    folder = ROOT / "web" / "docs" / node
    pages = {
        language: (folder / f"{language}.md").read_text(encoding="utf-8") for language in LANGUAGES
    }
    told = {language: explained(page) for language, page in pages.items()}

    assert len(set(map(tuple, told.values()))) == 1, told
    assert set(told["fr"]) <= {name for _, name in SCHEMAS[node]}
    assert len({paragraphs(page) for page in pages.values()}) == 1


def explained(page: str) -> list[str]:
    """The inputs in the first column of its table."""
    rows = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    return [name for row in rows[1:] for name in re.split(", |\u3001", row)]


def paragraphs(page: str) -> int:
    return len(re.findall(r"\n\n", page))
