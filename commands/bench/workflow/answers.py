"""What a server says, as the plain values that the rest counts on: whoever answers there may be anything."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

MOST_BYTES = 128 * 2**20  # /object_info of a server with every pack is a tenth of it
MOST_DEPTH = 64
MOST_LETTERS = 300  # of what a server said, in a sentence
MOST_FACTS = 64
ID = re.compile(r"[\w.-]{1,100}")
TEXTS = ("exception_type", "exception_message", "node_type", "node_id")


class Odd(ValueError):
    """No ComfyUI answers so; the text says what is wrong in it."""


def parsed(content: bytes | str) -> object:
    """Of JSON; None for what is none. Numbers that are none are left out. Raises Odd for what is nested too deep."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        value: object = json.loads(text, parse_constant=lambda name: None, parse_float=_finite)
    except RecursionError:
        raise Odd(f"nested deeper than {MOST_DEPTH}") from None
    except ValueError:
        return None
    if _depth(value) > MOST_DEPTH:
        raise Odd(f"nested deeper than {MOST_DEPTH}")
    return value


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _depth(value: object) -> int:
    depth = 0
    level: list = [value]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        depth += 1
        if depth > MOST_DEPTH:
            break
        level = [part for one in level for part in (one.values() if isinstance(one, dict) else one)]
    return depth


def said(value: object) -> str:
    """What a server said, as a part of a sentence."""
    line = " ".join(str(value if value is not None else "")[: 20 * MOST_LETTERS].split())
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS].rstrip()} ..."


def jobs(answer: Mapping) -> tuple[list[str], list[str]]:
    """The ids of what runs and of what waits."""
    return _ids(answer, "queue_running"), _ids(answer, "queue_pending")


def _ids(answer: Mapping, name: str) -> list[str]:
    items = answer.get(name) or []
    if not isinstance(items, list):
        raise Odd(f"{name} is no list")
    known = [item[1] for item in items if isinstance(item, list) and len(item) > 1]
    if len(known) != len(items) or not all(isinstance(one, str) for one in known):
        raise Odd(f"{name} has a job without an id")
    return known


def queued(answer: object) -> str:
    """The id that a workflow got."""
    given = _mapping(answer).get("prompt_id")
    if not isinstance(given, str) or not ID.fullmatch(given):
        raise Odd("the workflow got no id")
    return given


def refusals(answer: object) -> list[tuple[str, str, dict]]:
    """Node, its class and what is wrong with it, for each reason why a workflow is not run."""
    found = _mapping(_mapping(answer).get("node_errors"))
    return [
        (said(key), said(_mapping(node).get("class_type") or "node"), error)
        for key, node in found.items()
        for error in _mappings(_mapping(node).get("errors"))
    ]


def record(answer: Mapping, prompt_id: str) -> dict | None:
    """The server's record of a run: its status, and messages of a kind and facts."""
    if prompt_id not in answer:
        return None
    status = _mapping(_mapping(answer[prompt_id]).get("status"))
    messages = status.get("messages") or []
    if not isinstance(messages, list):
        raise Odd("the messages of a run are no list")
    pairs = [one for one in messages if isinstance(one, list) and len(one) == 2]
    if len(pairs) != len(messages) or not all(_is_message(*pair) for pair in pairs):
        raise Odd("a message of a run is no kind with its facts")
    told = [[kind, _event_facts(kind, facts)] for kind, facts in pairs]
    return {"status": {"status_str": status.get("status_str"), "messages": told}}


def _is_message(kind: object, facts: object) -> bool:
    return isinstance(kind, str) and isinstance(facts, dict)


def event(message: object) -> dict | None:
    """None for what is no event."""
    kind, facts = _mapping(message).get("type"), _mapping(message).get("data")
    if not isinstance(kind, str) or not isinstance(facts, dict):
        return None
    return {"type": kind, "data": _report(facts) if "." in kind else _event_facts(kind, facts)}


def _event_facts(kind: str, facts: Mapping) -> dict:
    nodes = facts.get("nodes")
    known = {
        **facts,
        "node": _node(facts.get("node")),
        "timestamp": _number(facts.get("timestamp")),
        "nodes": [str(one) for one in nodes] if isinstance(nodes, list) else [],
    }
    known |= {name: said(facts[name]) for name in TEXTS if name in facts}
    known |= {name: int(_number(facts.get(name)) or 0) for name in ("value", "max")}
    return known


def _report(payload: Mapping) -> dict:
    """Of the diagnostics, which other versions of the pack may send otherwise."""
    totals = _mapping(payload.get("totals")).items()
    return {
        **payload,
        "node": _node(payload.get("node")),
        "model": _mapping(payload.get("model")),
        "environment": facts(payload.get("environment")),
        "totals": {said(name): int(_number(count) or 0) for name, count in totals},
        "runs": [
            {**run, "peak_gib": _number(run.get("peak_gib"))}
            for run in _mappings(payload.get("runs"))
        ],
    }


def _node(given: object) -> str | None:
    return None if given is None or isinstance(given, (dict, list)) else str(given)


def facts(given: object) -> dict[str, str | int | float | None]:
    """Of a machine: a few plain values."""
    pairs = list(_mapping(given).items())[:MOST_FACTS]
    kept = [
        (name, fact) for name, fact in pairs if fact is None or isinstance(fact, (str, int, float))
    ]
    return {said(name): said(fact) if isinstance(fact, str) else fact for name, fact in kept}


def stats(answer: Mapping) -> dict:
    """Of /system_stats."""
    return {
        "system": facts(answer.get("system")),
        "devices": [facts(device) | _memory(device) for device in _mappings(answer.get("devices"))],
    }


def _memory(device: Mapping) -> dict:
    return {"vram_total": _number(device.get("vram_total"))}


def classes(answer: Mapping) -> dict[str, dict]:
    """Of /object_info; a class that tells nothing usable of itself is one without inputs and outputs."""
    known = {name: _class(facts) for name, facts in answer.items() if isinstance(facts, dict)}
    if answer and not known:
        raise Odd("no node has any facts")
    return known


def _class(given: Mapping) -> dict:
    inputs = _mapping(given.get("input"))
    groups = {name: _mapping(inputs.get(name)) for name in ("required", "optional")}
    declared = {
        group: {name: one for name, one in entries.items() if _is_input(one)}
        for group, entries in groups.items()
    }
    listed = given.get("output")
    return {
        "output": listed if isinstance(listed, list) else None,  # one that lists none may have any
        "output_node": bool(given.get("output_node")),
        "input": declared,
    }


def _is_input(declared: object) -> bool:
    if not isinstance(declared, list) or not declared:
        return False
    kind, *more = declared
    options = _mapping(more[0]).get("options") if more else None
    return isinstance(kind, (str, list)) and (options is None or isinstance(options, list))


def _mapping(given: object) -> dict:
    return given if isinstance(given, dict) else {}


def _mappings(given: object) -> list[dict]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _number(given: object) -> float | int | None:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    return given if abs(given) < 1e18 else None
