"""One Chromium for all tests of the page; its driver's loop would stand in the way of other tests, so it ends with the last."""

from __future__ import annotations

import pytest
from wanattn.tests.web.pages import Chromium

CHROMIUM = Chromium()


@pytest.fixture(scope="module")
def browser():
    """The test is skipped where there is none."""
    return CHROMIUM.opened()


@pytest.hookimpl(trylast=True)  # after the pages that are still open
def pytest_runtest_teardown(item, nextitem):
    if nextitem is None or item.path.parent not in nextitem.path.parents:
        CHROMIUM.close()
