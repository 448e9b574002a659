"""Rules: a backend for some roles, blocks and steps. Pure: text in, decisions out."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise

from ..call import ROLES

MOST_RULES = 64  # of one model
MOST_RANGES = 1_000  # of one rule
MOST_TEXT = 16_000  # letters of the ranges of one rule
MOST_LETTERS = 60  # of a list of ranges in a sentence
RULE_ROLES = ("any", "self", "text", "image", "vace", *ROLES[5:])
INDEXES = re.compile(r"([0-9]{1,6})(-([0-9]{1,6})?)?")
SHARES = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%-(?:([0-9]{1,3}(?:\.[0-9]{1,4})?)%)?")


@dataclass(frozen=True, slots=True)
class Span:
    """A range as the user wrote it: first to last number, or from one percentage up to another."""

    text: str
    first: Fraction
    last: Fraction | float  # infinite where the range has no end
    percent: bool = False

    def __str__(self) -> str:
        return self.text

    def holds(self, index: int, count: int) -> bool:
        """A percentage takes every step of which it covers a part, so that it never comes to nothing."""
        if self.percent:
            return self.first * count < 100 * (index + 1) and 100 * index < self.last * count
        return self.first <= index <= self.last

    def indexes(self, count: int) -> range:
        """Those of 0 to count - 1 that it holds."""
        if not self.percent:
            last = count - 1 if self.last == math.inf else min(int(self.last), count - 1)
            return range(int(self.first), last + 1)
        return range(
            math.floor(self.first * count / 100),
            min(count, math.ceil(Fraction(self.last) * count / 100)),
        )

    def meets(self, later: Span) -> bool:
        return later.first < self.last or (not self.percent and later.first == self.last)

    def beyond(self, count: int) -> int | None:
        """The number that is out of range where numbers go from 0 to count - 1."""
        numbers = () if self.percent else (self.first, self.last)
        return next((int(n) for n in numbers if count <= n < math.inf), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """Calls of this role in these blocks and steps run on `backend`; no blocks or no steps means all of them."""

    role: str
    blocks: tuple[Span, ...]
    steps: tuple[Span, ...]
    backend: str

    @classmethod
    def parse(cls, role: str, blocks: str, steps: str, backend: str) -> Rule:
        if role not in RULE_ROLES:
            raise ValueError(f"unknown role {role!a}; expected one of {', '.join(RULE_ROLES)}")
        return cls(role, parse_ranges(blocks), parse_ranges(steps, percent=True), backend)

    def __str__(self) -> str:
        parts = [self.role]
        for what, spans in (("blocks", self.blocks), ("steps", self.steps)):
            parts += [f"{what} {_brief(','.join(map(str, spans)))}"] if spans else []
        return f"{', '.join(parts)}: {self.backend}"


def _brief(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."


class Rulings:
    """The rule for every role, step and block of one run, worked out ahead; later rules win.

    Where the step or the block of a call is not known, only rules that name none apply.
    """

    def __init__(self, rules: Sequence[Rule], blocks: int = 0, steps: int = 0) -> None:
        self._blocks, self._steps = blocks, steps
        self._rules = tuple(rules)
        # A bit for each rule that holds there; the highest wins. The last step and block: not known.
        self._of_role = {
            role: _bits(rule.role in ("any", role, role.partition(" ")[0]) for rule in rules)
            for role in ROLES
        }
        self._of_step = _held([rule.steps for rule in rules], steps)
        self._of_block = _held([rule.blocks for rule in rules], blocks)

    def of(self, role: str, step: int | None, block: int | None) -> Rule | None:
        bits = self._of_step[-1 if step is None else min(step, self._steps - 1)]
        bits &= self._of_block[-1 if block is None or block >= self._blocks else block]
        bits &= self._of_role[role]
        return self._rules[bits.bit_length() - 1] if bits else None

    def _applied(self) -> set[int]:
        """The places of those rules that win somewhere."""
        steps, blocks = set(self._of_step), set(self._of_block)
        places = {step & block for step in steps for block in blocks}
        roles = set(self._of_role.values())
        return {(place & role).bit_length() - 1 for place in places for role in roles}

    def notes(self, rules: Sequence[Rule], met: Collection[int] | None = None) -> list[str]:
        """A line for each rule, also for those that cannot apply in this run.

        `met` holds the ids of those that a call came under, once the run is over.
        """
        applied = {id(self._rules[place]) for place in self._applied() if place >= 0}

        def remark(rule: Rule) -> str:
            known = (self._steps or not rule.steps) and (self._blocks or not rule.blocks)
            if known and id(rule) not in applied:
                return " (later rules take all its calls)"
            return " (no such call in this run)" if met is not None and id(rule) not in met else ""

        return [f"rule {rule}{remark(rule)}" for rule in rules]


def parse_ranges(text: str, *, percent: bool = False) -> tuple[Span, ...]:
    """Read `0-3,39` or `18-`, and `0%-10%,90%-` where percent makes sense; none for an empty text."""
    if not text.strip():
        return ()
    if len(text) > MOST_TEXT:
        raise ValueError(f"ranges of {len(text):,} letters, needs at most {MOST_TEXT:,}")
    if text.count(",") >= MOST_RANGES:
        raise ValueError(f"{text.count(',') + 1:,} ranges, needs at most {MOST_RANGES:,}")
    spans = tuple(_span(part.strip(), percent) for part in text.split(","))
    if len({span.percent for span in spans}) > 1:
        raise ValueError(f"{text.strip()[:60]!a} mixes numbers and percent, use one of the two")
    for one, next_one in pairwise(sorted(spans, key=lambda span: (span.first, span.last))):
        if one.meets(next_one):
            raise ValueError(f"ranges {one} and {next_one} overlap")
    return spans


def few(rules: Sequence[Rule]) -> None:
    """Raise ValueError for more rules than a model can have."""
    if len(rules) > MOST_RULES:
        raise ValueError(f"{len(rules):,} rules, needs at most {MOST_RULES}")


def check(rules: Sequence[Rule], what: str, count: int, whose: str) -> None:
    """Raise ValueError where a rule's ranges of `what`, block or step, do not fit into `count`."""
    for rule in rules:
        for span in rule.blocks if what == "block" else rule.steps:
            number = span.beyond(count)
            if number is None:
                continue
            if not count:
                raise ValueError(
                    f"Attention Backend Rule ({rule}): {whose} has no numbered {what}s"
                )
            raise ValueError(
                f"Attention Backend Rule ({rule}): {what} {number}, {whose} has {what}s 0 to {count - 1}"
            )


def _bits(holds: Iterable[bool]) -> int:
    return sum(1 << place for place, held in enumerate(holds) if held)


def _held(ranges: Sequence[tuple[Span, ...]], count: int) -> list[int]:
    """For each index and, last, for one that is not known, a bit for each rule whose ranges hold it."""
    masks = [0] * (count + 1)
    for place, spans in enumerate(ranges):
        for index in _indexes(spans, count):
            masks[index] |= 1 << place
    return masks


def _indexes(spans: tuple[Span, ...], count: int) -> Iterator[int]:
    if not spans:
        return iter(range(count + 1))
    return chain.from_iterable(span.indexes(count) for span in spans)


def _span(part: str, percent: bool) -> Span:
    if re.fullmatch(r"-[0-9].*", part):
        raise ValueError(f"range {part[:40]!a} is negative, numbers start at 0")
    share = SHARES.fullmatch(part) if percent else None
    if share:
        last = Fraction(share[2] or 100)
        span = Span(part, Fraction(share[1]), last, True)
    elif index := INDEXES.fullmatch(part):
        end = index[3] if index[2] else index[1]
        span = Span(part, Fraction(index[1]), Fraction(end) if end else math.inf)
    else:
        hint = ", or 0%-10% and 90%- for a share" if percent else ""
        raise ValueError(f"{part[:40]!a} is no range, write 3, 0-3 or 18-{hint}")
    if span.percent and max(span.first, span.last) > 100:
        raise ValueError(f"range {part} goes beyond 100%")
    if span.percent and span.first == span.last:
        raise ValueError(f"range {part} is empty")
    if span.first > span.last:
        raise ValueError(f"range {part} runs backwards")
    return span
