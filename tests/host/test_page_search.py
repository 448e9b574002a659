"""The nodes are found by the words that users type."""

import pytest
from wanattn.tests.host.panel_page import page_timeout, still, until

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
FOUND = f"place => ({RESULTS})().slice(0, place === 'first' ? 1 : Infinity).includes('Attention Backend')"
SECONDS = 60


@pytest.fixture(scope="module")
def known(comfy):
    from wanattn.nodes.found import KNOWN

    return "search_aliases" in KNOWN


def search(page, query, place):
    """What the page offers first for a query, once Attention Backend is where it shall be, or when it never is."""
    until(page, lambda: page.mouse.dblclick(900, 700), "document.querySelector('input:focus')")
    page.keyboard.type(query)
    try:
        page.wait_for_function(FOUND, arg=place, timeout=SECONDS * 1000)
    except page_timeout():
        pass  # the list itself tells more
    found = still(page, f"({RESULTS})()")
    until(page, lambda: page.keyboard.press("Escape"), "!document.querySelector('input:focus')")
    return found[:1] if place == "first" else found


def test_backend_is_found_by_what_users_type(open_page, known):
    page = open_page()
    page.evaluate("window.app.graph.clear()")
    for query, place in QUERIES.items():
        if not known and query not in ALIASES:
            continue
        assert "Attention Backend" in (found := search(page, query, place)), (query, found)
