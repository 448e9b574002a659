"""The page's modules in a real browser, as they lie here, without a server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOST = "http://wanattn.test"
TYPES = {".js": "text/javascript", ".json": "application/json"}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    """A Chromium; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright not installed")
    chromium = shutil.which("chromium") or shutil.which("chrome")
    if chromium is None:
        pytest.skip("no chromium on the PATH")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


def open_modules(browser):
    """An empty page that can import any module of the repository by its path."""
    page = browser.new_context(viewport={"width": 900, "height": 900}).new_page()
    page.route(f"{HOST}/**", _answer)
    page.goto(f"{HOST}/")
    return page


def _answer(route) -> None:
    path = ROOT / route.request.url.removeprefix(f"{HOST}/")
    if path.suffix not in TYPES:
        route.fulfill(body="<!doctype html><title>tests</title>", content_type="text/html")
    else:
        route.fulfill(body=path.read_text(encoding="utf-8"), content_type=TYPES[path.suffix])
