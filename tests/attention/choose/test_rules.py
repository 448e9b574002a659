from __future__ import annotations

import time

import pytest
from wanattn.attention.call import ROLES
from wanattn.attention.choose.policy import NoBackend, Policy
from wanattn.attention.choose.rules import RULE_ROLES, Rule, Rulings, check, parse_ranges
from wanattn.attention.record.recorder import Recorder
from wanattn.attention.run.dispatch import UNPLACED, Dispatcher
from wanattn.attention.run.forward import Forward
from wanattn.tests.fixtures import attend


def held(text: str, count: int) -> list[int]:
    spans = parse_ranges(text, percent=True)
    return [index for index in range(count) if any(span.holds(index, count) for span in spans)]


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("3", 5, [3]),
        ("0-3,39", 40, [0, 1, 2, 3, 39]),
        ("39 , 0-1", 40, [0, 1, 39]),
        ("0-1,18-", 20, [0, 1, 18, 19]),
        ("4-4", 5, [4]),
        ("007", 8, [7]),
        ("0%-10%,90%-", 20, [0, 1, 18, 19]),
        ("0%-10%,90%-", 4, [0, 3]),
        ("90%-", 1, [0]),
        ("0%-50%,50%-100%", 4, [0, 1, 2, 3]),
        ("50%-", 3, [1, 2]),
        ("12.5%-25%", 8, [1]),
    ],
)
def test_ranges_hold(text, count, expected):
    assert held(text, count) == expected


@pytest.mark.parametrize("text", ["", "  ", "\n"], ids=["empty", "blanks", "newline"])
def test_no_text_means_no_ranges(text):
    assert parse_ranges(text) == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5-3", "range 5-3 runs backwards"),
        ("0-5,4-7", "ranges 0-5 and 4-7 overlap"),
        ("4-7,0-5", "ranges 0-5 and 4-7 overlap"),
        ("3,3", "ranges 3 and 3 overlap"),
        ("18-,20", "ranges 18- and 20 overlap"),
        ("0-30,5,6", "ranges 0-30 and 5 overlap"),
        ("90%-10%", "range 90%-10% runs backwards"),
        ("0%-50%,40%-", "ranges 0%-50% and 40%- overlap"),
        ("90%-110%", "range 90%-110% goes beyond 100%"),
        ("10%-10%", "range 10%-10% is empty"),
        ("100%-", "range 100%- is empty"),
        ("0-1,90%-", "'0-1,90%-' mixes numbers and percent, use one of the two"),
        ("-3", "range '-3' is negative, numbers start at 0"),
        ("0-1,-3-4", "range '-3-4' is negative, numbers start at 0"),
    ],
)
def test_impossible_ranges_are_named(text, sentence):
    with pytest.raises(ValueError) as error:
        parse_ranges(text, percent=True)

    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "text",
    [
        "first",
        "0-3,",
        ",",
        "0--3",
        "0 - 3",
        "0-3;5",
        "1.5",
        "0x1",
        "1e3",
        "+1",
        "0-3-5",
        "50%",
        "0-10%",
        "0%-10",
        "1" * 5000,
        "\u0663",
        "\u00b2",
        "0\u20133",
        "3\n,4x",
    ],
    ids=lambda text: ascii(text)[:12],
)
def test_what_is_no_range_is_shown(text):
    with pytest.raises(ValueError, match=r"is no range, write 3, 0-3 or 18-, or 0%-10%") as error:
        parse_ranges(text, percent=True)

    assert str(error.value).isascii()
    assert len(str(error.value)) < 200


def test_blocks_take_no_percent():
    with pytest.raises(ValueError, match=r"'0%-10%' is no range, write 3, 0-3 or 18-$"):
        Rule.parse("any", "0%-10%", "", "flash")


def test_unknown_role_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown role 'txt'; expected one of any, self, text"):
        Rule.parse("txt", "", "", "flash")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (("any", "", "", "math"), "any: math"),
        (("text", "", "0-1", "flash"), "text, steps 0-1: flash"),
        (("self", "0-3, 39", "90%-", "host"), "self, blocks 0-3,39, steps 90%-: host"),
    ],
)
def test_rule_reads_as_a_line(rule, said):
    assert str(Rule.parse(*rule)) == said


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        (
            "45",
            "Attention Backend Rule (any, blocks 45: flash): block 45, this model has blocks 0 to 39",
        ),
        (
            "38-45",
            "Attention Backend Rule (any, blocks 38-45: flash): block 45, this model has blocks 0 to 39",
        ),
        (
            "40-",
            "Attention Backend Rule (any, blocks 40-: flash): block 40, this model has blocks 0 to 39",
        ),
    ],
)
def test_block_that_the_model_has_not(blocks, sentence):
    with pytest.raises(ValueError) as error:
        check([Rule.parse("any", blocks, "", "flash")], "block", 40, "this model")

    assert str(error.value) == sentence


def test_model_without_blocks():
    with pytest.raises(ValueError, match="this model has no numbered blocks"):
        check([Rule.parse("any", "0-", "", "flash")], "block", 0, "this model")


@pytest.mark.parametrize("steps", ["", "0-3", "0-", "3", "90%-"])
def test_steps_that_fit_pass(steps):
    check([Rule.parse("any", "", steps, "flash")], "step", 4, "this run")


def backends(rulings: Rulings, role: str, step: int | None, blocks) -> list[str]:
    found = [rulings.of(role, step, block) for block in blocks]
    return [rule.backend if rule else "-" for rule in found]


def test_later_rules_win_where_they_meet():
    rules = [Rule.parse("any", "0-1", "", "math"), Rule.parse("text", "1-2", "", "flash")]
    rulings = Rulings(rules, blocks=4, steps=2)

    assert backends(rulings, "self", 0, range(4)) == ["math", "math", "-", "-"]
    assert backends(rulings, "text", 1, range(4)) == ["math", "flash", "flash", "-"]


@pytest.mark.parametrize("role", ROLES)
def test_any_takes_every_role(role):
    assert backends(Rulings([Rule.parse("any", "", "", "math")]), role, None, [None]) == ["math"]


def test_the_roles_to_choose_from_are_those_of_calls_with_vace_as_one():
    alone = [role for role in ROLES if not role.startswith("vace ")]

    assert sorted(RULE_ROLES) == sorted(["any", "vace", *alone])
    for role in ("vace self", "vace text"):
        assert Rulings([Rule.parse("vace", "", "", "math")]).of(role, None, None)


def test_unknown_step_or_block_gets_only_rules_that_name_none():
    stepped, blocked = Rule.parse("self", "", "0-", "math"), Rule.parse("self", "0-", "", "math")

    assert backends(Rulings([stepped], 2, 2), "self", None, [0]) == ["-"]
    assert backends(Rulings([blocked], 2, 2), "self", 0, [None, 2, 7]) == ["-", "-", "-"]
    assert backends(Rulings([blocked, stepped]), "self", 5, [0]) == ["-"]


def test_step_past_the_last_counts_as_the_last():
    rulings = Rulings([Rule.parse("any", "", "1", "math")], blocks=1, steps=2)

    assert backends(rulings, "self", 2, [0]) == ["math"]


@pytest.fixture
def run(tensors):
    """Runs one call a (step, block) of 2 x 2 and gives the records."""

    def run(dispatcher):
        recorder = Recorder()
        for step in range(2):
            forward = Forward(step=step, text_len=512, recorders=[recorder])
            for block in range(2):
                attend(dispatcher, tensors(), forward, block)
        return [record for _, record in recorder.snapshot().calls]

    return run


def test_dispatcher_requests_and_runs_what_the_rule_says(run):
    rules = [Rule.parse("self", "1", "0", "math")]
    dispatcher = Dispatcher(Policy("flash"), rules=rules, blocks=2)
    dispatcher.reset(2)

    records = run(dispatcher)

    found = {(r.step, r.block): (r.requested, r.active) for r in records}
    assert found.pop((0, 1)) == ("math", "math")
    assert set(found.values()) == {("flash", "flash")} and len(found) == 3
    assert dispatcher.notes == ["rule self, blocks 1, steps 0: math"]


def test_rule_without_effect_is_told(run):
    rules = [Rule.parse("self", "", "0", "math"), Rule.parse("any", "", "", "flash")]
    dispatcher = Dispatcher(Policy("math"), rules=rules, blocks=2)
    dispatcher.reset(2)

    assert {record.active for record in run(dispatcher)} == {"flash"}
    assert dispatcher.notes == [
        "rule self, steps 0: math (later rules take all its calls)",
        "rule any: flash",
    ]


@pytest.mark.parametrize(("blocks", "told"), [("0", True), ("", False)], ids=["named", "all"])
def test_calls_without_a_block_are_told_where_rules_name_blocks(tensors, blocks, told):
    dispatcher = Dispatcher(
        Policy("flash"), rules=[Rule.parse("any", blocks, "", "math")], blocks=2
    )
    recorder = Recorder()
    for _ in range(2):
        attend(dispatcher, tensors(), Forward(recorders=[recorder]), None)

    assert dispatcher.notes.count(UNPLACED) == told
    assert {record.active for _, record in recorder.snapshot().calls} == {
        "flash" if told else "math"
    }


def test_refusal_policy_holds_for_rules(run):
    rules = [Rule.parse("any", "1", "", "cudnn")]
    dispatcher = Dispatcher(Policy("flash", "stop"), rules=rules, blocks=2)

    with pytest.raises(NoBackend, match="'cudnn' cannot run this call") as error:
        run(dispatcher)
    assert "cuDNN does not exist on cpu" in str(error.value)


def test_block_that_the_model_has_not_stops_at_once():
    with pytest.raises(ValueError, match="block 2, this model has blocks 0 to 1"):
        Dispatcher(Policy("flash"), rules=[Rule.parse("any", "1-2", "", "math")], blocks=2)


def test_step_that_the_run_has_not_stops_before_the_first_call():
    dispatcher = Dispatcher(Policy("flash"), rules=[Rule.parse("any", "", "0-1,18-", "math")])

    with pytest.raises(ValueError, match="step 18, this run has steps 0 to 3"):
        dispatcher.reset(4)


def test_rule_with_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="unknown backend 'sgae'"):
        Dispatcher(Policy("flash"), rules=[Rule.parse("any", "", "", "sgae")])


def test_rule_that_no_call_fits_is_told_at_the_end(run):
    rules = [Rule.parse("image", "", "", "math"), Rule.parse("self", "", "", "math")]
    dispatcher = Dispatcher(Policy("flash"), rules=rules, blocks=2)
    dispatcher.reset(2)
    run(dispatcher)
    assert dispatcher.notes == ["rule image: math", "rule self: math"]

    dispatcher.end_forward(wait=True)

    assert dispatcher.notes == ["rule image: math (no such call in this run)", "rule self: math"]


def test_equal_rules_are_told_apart(run):
    rules = [Rule.parse("any", "", "", "math"), Rule.parse("any", "", "", "math")]
    dispatcher = Dispatcher(Policy("flash"), rules=rules, blocks=2)
    dispatcher.reset(2)
    run(dispatcher)
    dispatcher.end_forward(wait=True)

    assert dispatcher.notes == ["rule any: math (later rules take all its calls)", "rule any: math"]


def test_rule_of_steps_where_their_number_is_unknown_is_not_called_overruled():
    dispatcher = Dispatcher(Policy("flash"), rules=[Rule.parse("any", "", "0", "math")], blocks=2)
    dispatcher.reset()

    assert dispatcher.notes == ["rule any, steps 0: math"]


def test_a_long_list_of_blocks_is_cut_in_sentences():
    rule = Rule.parse("any", ",".join(map(str, range(0, 2000, 2))), "", "math")

    assert len(str(rule)) < 100 and str(rule).endswith("...: math")


@pytest.mark.parametrize(
    "text", ["0-", "3", "0-3,7,39", "0%-10%", "33.3333%-66.6667%,90%-", "0%-0.0001%"]
)
@pytest.mark.parametrize("count", [1, 3, 7, 20, 50])
def test_a_ranges_indexes_are_those_that_it_holds(text, count):
    for span in parse_ranges(text, percent=True):
        held = [index for index in range(count) if span.holds(index, count)]
        assert list(span.indexes(count)) == held


def test_many_rules_over_many_steps_take_no_time():
    """Half a second is said of the slowest machine; a table of all places took eight on a fast one."""
    rules = [Rule.parse("any", f"{n % 40}", f"{n}-{9_000 + n}", "math") for n in range(50)]

    start = time.thread_time()
    rulings = Rulings(rules, blocks=40, steps=10_000)
    notes = rulings.notes(rules)
    found = rulings.of("self", 9_020, 5)
    spent = time.thread_time() - start

    assert spent < 0.5
    assert len(notes) == 50
    assert found is rules[45]


def test_what_is_typed_in_is_read_or_refused_in_no_time():
    """It took 25 s."""
    long = ",".join(map(str, range(200_000)))

    start = time.thread_time()
    with pytest.raises(ValueError, match="needs at most 16,000"):
        parse_ranges(long)
    with pytest.raises(ValueError, match=r"^2,000 ranges, needs at most 1,000$"):
        parse_ranges(",".join(["1"] * 2_000))
    assert len(parse_ranges(",".join(map(str, range(0, 2_000, 2))))) == 1_000
    assert parse_ranges("7".ljust(16_000)) == parse_ranges("7")

    assert time.thread_time() - start < 0.5


def test_too_many_rules_are_refused_when_a_run_is_prepared():
    rules = [Rule.parse("any", "", "", "math")] * 65
    with pytest.raises(ValueError, match=r"^65 rules, needs at most 64$"):
        Dispatcher(Policy("flash"), rules=rules)
