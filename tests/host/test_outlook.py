"""What is foretold of a run, by who will take its calls and what is known of them."""

from __future__ import annotations

import pytest

SHAPE = (3, 16, 5, 16, 16)  # B C F H W
SIZE = (128, 128, 17)


def told(outlook):
    return [(each["requested"], each["active"], each["reason"]) for each in outlook.forecast]


def test_without_attention_backend_it_is_open_before_a_run_and_the_hosts_at_its_start(load):
    from wanattn.nodes.host.expected.outlook import Outlook, Wired, at_start, before
    from wanattn.nodes.host.functions import default

    model = load("t2v")
    assert told(before(model, Wired("", SIZE), None)) == [("", "", "")] * 2
    assert told(at_start(model, SHAPE, None)) == [("host", default().label, "")] * 2
    assert before(model, Wired(), None) == Outlook(None, ())


def test_a_run_that_cannot_be_foretold_goes_on(comfy, caplog):
    from wanattn.nodes.host.expected.outlook import Outlook, at_start

    assert at_start(None, SHAPE, None) == Outlook()
    assert caplog.messages == ["no forecast of the run"]


@pytest.mark.parametrize("given", [[1], {"10": None}, {"10": {"inputs": [1]}}])
def test_a_prompt_that_cannot_be_read_tells_nothing_and_ends_nothing(comfy, caplog, given):
    from wanattn.nodes.host.expected.outlook import Wired

    assert Wired.of(given, "10") == Wired()
    assert caplog.messages == ["the prompt of node 10 tells nothing"]


def test_a_model_is_told_by_its_file_and_expert(comfy):
    from wanattn.nodes.host.expected.outlook import Wired

    both = {"file": "wan_low_noise.sft", "expert": "low noise"}
    assert Wired("wan_low_noise.sft").model == both
    assert Wired("wan.sft").model == {"file": "wan.sft"}
    assert Wired().model == {}


def test_the_last_rule_for_a_role_is_foretold(load, ruled):
    from wanattn.nodes.host.expected.outlook import at_start
    from wanattn.nodes.host.expected.taking import taker_of

    rules = [(role, "", "", "math") for role in ("self", "any", "self")]
    model = ruled(load("t2v"), *rules, ("self", "", "", "flash"), ("image", "0", "", "host"))

    outlook = at_start(model, SHAPE, taker_of(model).dispatcher)
    assert [each["active"] for each in outlook.forecast] == ["flash", "math"]


def test_a_role_is_open_where_rules_decide_by_block_or_step_and_the_hosts_where_one_says_so(
    load,
):
    """Before the run as at its start: the host's function is told by its name."""
    from wanattn.attention.choose.policy import Policy
    from wanattn.attention.choose.rules import Rule
    from wanattn.attention.run.dispatch import Dispatcher
    from wanattn.nodes.host.expected.outlook import Wired, before
    from wanattn.nodes.host.functions import default

    open_ = ("flash", "", "the rules that are wired in decide by role, block and step")
    rules = [Rule.parse("text", "", "", "host")]
    for part in ({"blocks": "0", "steps": ""}, {"blocks": "", "steps": "0"}):
        chain = [*rules, Rule.parse("self", backend="math", **part)]
        taker = Dispatcher(Policy("flash"), rules=chain, blocks=2)
        own, text = told(before(load("t2v"), Wired("", SIZE), taker))
        assert own == open_ and text[:2] == ("host", default().label)


class Known:
    """Timings of calls with so many batches; keeps what it was asked."""

    def __init__(self, *batches):
        self.batches = batches
        self.asked = []

    def read(self, call):
        from wanattn.attention.choose.measure.timings import Timing

        self.asked.append(call.batch)
        times = {"flash": Timing(1.0, 1.0), "math": Timing(2.0, 2.0)}
        return times if call.batch in self.batches else {}


def foretold(load, known):
    from wanattn.attention.choose.policy import Policy
    from wanattn.attention.run.dispatch import Dispatcher
    from wanattn.nodes.host.expected.outlook import at_start

    taker = Dispatcher(Policy("auto"), timings_of=known and (lambda device: known))
    return told(at_start(load("t2v"), SHAPE, taker))[0]


def test_auto_is_foretold_by_what_was_measured_for_one_conditioning_or_for_both(load):
    """The host may put both into one batch: then a call has twice as many."""
    measured = ("auto", "flash", "measured here: flash 1 ms, math 2 ms")
    alone, both, none = Known(3), Known(6), Known()

    assert foretold(load, alone) == measured and set(alone.asked) == {3}
    assert foretold(load, both) == measured and set(both.asked) == {3, 6}
    assert foretold(load, none)[1] == "" and set(none.asked) == {3, 6}


def test_auto_is_open_where_nothing_is_ever_measured(load):
    requested, active, reason = foretold(load, None)

    assert (requested, active) == ("auto", "")
    assert reason.startswith("timed at the first call: ")
