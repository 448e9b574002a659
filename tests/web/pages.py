"""The page's modules in a real browser, as they lie here, without a server."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOST = "http://wanattn.test"
TYPES = {".js": "text/javascript", ".json": "application/json"}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Chromium:
    """Started when it is first asked for, and again once it was closed."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._browser = None

    def opened(self):
        """Skips the test that asks where there is none."""
        if self._browser is None:
            playwright = pytest.importorskip(
                "playwright.sync_api", reason="playwright not installed"
            )
            found = shutil.which("chromium") or shutil.which("chrome")
            if found is None:
                pytest.skip("no chromium on the PATH")
            tool = self._open.enter_context(playwright.sync_playwright())
            self._browser = tool.chromium.launch(executable_path=found, args=FLAGS)
            self._open.callback(self._browser.close)
        return self._browser

    def close(self) -> None:
        self._browser = None
        self._open.close()


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
