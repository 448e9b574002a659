"""What tells one workflow from another in results: a digest of what a benchmark neither sets nor adds itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection

from .prompt import SEEDS, Link, Prompt, links, sized
from .wiring import BACKEND, DIAGNOSTICS, REPORT

PACK = "WanAttn"  # how the classes of our own nodes begin
PASSED = {(BACKEND, 0): "model", (DIAGNOSTICS, 0): "model", (REPORT, 0): "after"}
DIGITS = 8


def digest(prompt: Prompt, replaced: Collection[str] = ()) -> str:
    """`replaced` are the measures of the video that the benchmark sets in place of the workflow's."""
    text = json.dumps(_essence(prompt, replaced), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _essence(prompt: Prompt, replaced: Collection[str]) -> Prompt:
    """Without what only inputs that are left out take from, such as the node that a seed came from."""
    left_out = set(sized(prompt, replaced))
    found: Prompt = {}
    waiting = _ends(prompt)
    while waiting:
        key = waiting.pop()
        if key not in found:
            inputs = _inputs(prompt, key, left_out)
            found[key] = {"class_type": prompt[key]["class_type"], "inputs": inputs}
            waiting += [source for source, _ in links(found[key]).values()]
    return found


def _ends(prompt: Prompt) -> list[str]:
    """The nodes that nothing takes from, and what our own nodes take and would pass on."""
    taken = {source for node in prompt.values() for source, _ in links(node).values()}
    found = [
        _past_ours(prompt, (key, 0)) for key in prompt if key not in taken or _ours(prompt, key)
    ]
    return [link[0] for link in found if link]


def _inputs(prompt: Prompt, key: str, left_out: set[tuple[str, str]]) -> dict:
    kept = prompt[key]["inputs"].items()
    given = {
        name: value for name, value in kept if name not in SEEDS and (key, name) not in left_out
    }
    for name, link in links({"inputs": given}).items():
        source = _past_ours(prompt, link)
        if source:
            given[name] = list(source)
        else:
            del given[name]
    return given


def _past_ours(prompt: Prompt, link: Link) -> Link | None:
    """The same link where it would be without our nodes; None for what only they make."""
    passed: set[str] = set()
    found: Link | None = link
    while found and _ours(prompt, found[0]):
        key, slot = found
        name = PASSED.get((prompt[key]["class_type"], slot), "")
        found = None if key in passed else links(prompt[key]).get(name)
        passed.add(key)
    return found


def _ours(prompt: Prompt, key: str) -> bool:
    return prompt[key]["class_type"].startswith(PACK)
