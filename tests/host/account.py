"""A report held against the independent count of the same run."""

from __future__ import annotations

from collections import Counter

from wanattn.tests.host.counting import Counting
from wanattn.tests.host.workbench import Report

FACTS = ("role", "block", "kernel", "step")
COLUMNS = {"kernel": "active"}
NAMES = {"cond": "positive", "uncond": "negative"}  # as reports say it since the first release


def told(report: Report, *facts: str) -> Counter:
    return report.counts(*(COLUMNS.get(fact, fact) for fact in facts))


def assert_told(report: Report, counting: Counting, *facts: str) -> None:
    """Every call that was made is a row of the report, and says the truth of itself."""
    facts = facts or FACTS
    assert counting.calls, "no attention call was made: the test tests nothing"
    assert told(report, *facts) == counting.counts(*facts)
    assert report.payload["calls"] == len(counting.calls)
    assert sum(report.payload["totals"].values()) == len(counting.calls)


def assert_account(report: Report, calls: int, hooked: int) -> None:
    """The account adds up: what came through the hook, and what went past it, each with its culprit."""
    account = report.payload["account"]
    assert (account["calls"], account["hooked"]) == (calls, hooked)
    assert sum(past["calls"] for past in account["past"]) == calls - hooked
    assert all(past["how"] and past["ran"] and past["role"] for past in account["past"])
    assert report.counts("via") == +Counter({("hook",): hooked, ("past",): calls - hooked})


def conds_of(report: Report) -> Counter:
    """Calls by the names of the conditionings in their batch."""
    named = (tuple(NAMES.get(n, n) for n in line["cond"].split("+")) for line in report.lines)
    return Counter(named)


def true_conds_of(counting: Counting) -> Counter:
    return Counter(call.conds for call in counting.calls)
