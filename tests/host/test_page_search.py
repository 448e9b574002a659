"""The nodes are found by the words that users type."""

import pytest

QUERIES = {
    "wan attention": "first",
    "attention": "first",
    "flash": "first",
    "kernel": "first",
    "xformers": "first",
    "cudnn": "first",
    "sage attention": "first",
    # the page puts fuzzy matches of popular nodes before any word of ours
    "sage": "there",
    "sdpa": "there",
    "speed": "there",
}
ALIASES = ["attention"]  # what a host finds by the names of nodes alone
RESULTS = """() => [...document.querySelectorAll("[role=option]")].map(item => item.innerText.split("\\n")[0].trim()).filter(Boolean)"""


@pytest.fixture(scope="module")
def known(comfy):
    from wanattn.nodes.found import KNOWN

    return "search_aliases" in KNOWN


def results(page, query):
    page.mouse.dblclick(900, 700)
    box = page.locator("input:focus")
    box.wait_for()
    page.keyboard.type(query)
    page.wait_for_timeout(700)
    found = page.evaluate(RESULTS)
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    return found


def test_backend_is_found_by_what_users_type(open_page, known):
    page = open_page()
    page.evaluate("window.app.graph.clear()")
    for query, place in QUERIES.items():
        if not known and query not in ALIASES:
            continue
        found = results(page, query)
        assert "Attention Backend" in (found[:1] if place == "first" else found), (query, found)
