"""The stand-alone report's data."""

from __future__ import annotations

import json
import math
import re

from wanattn.attention.report.html import render


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_numbers_stay_as_they_are_and_what_json_has_not_is_empty():
    given = {"calls": 7, "none": None, "text": "<b>&", "yes": True, "list": [1.5, math.nan, (2,)]}
    given |= {"most": {1: math.inf}}

    found = data_of(render(given))

    assert found == {
        "calls": 7,
        "none": None,
        "text": "<b>&",
        "yes": True,
        "list": [1.5, None, [2]],
        "most": {"1": None},
    }


def test_no_text_ends_the_element_that_it_stands_in():
    page = render({"text": "</script><script>alert(1)</script>\x7f"})

    assert "<script>alert(1)" not in page
    assert data_of(page)["text"] == "</script><script>alert(1)</script>\x7f"
