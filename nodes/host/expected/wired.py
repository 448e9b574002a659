"""What a queued prompt tells of a model before anything is sampled: its file, and the size that is wired to its sampler."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

FILE = re.compile(r"\.(safetensors|sft|gguf|ckpt|pth?|bin)$", re.IGNORECASE)
EXPERT = re.compile(r"(high|low)[ _.-]?noise", re.IGNORECASE)
SIZES = ("width", "height", "length")
SAMPLES = ("latent_image", "guider")

Prompt = Mapping[str, Mapping]


def file_of(prompt: Prompt | None, node: str | None) -> str:
    """The checkpoint that a node's model comes from, without its folder; empty where no loader names one."""
    for key in _upstream(prompt or {}, str(node)):
        inputs = (prompt or {})[key].get("inputs", {})
        if any(map(_is_link, inputs.values())):
            continue  # what a LoRA's loader names is not the model
        names = [v for v in inputs.values() if isinstance(v, str) and FILE.search(v)]
        if names:
            return re.split(r"[/\\]", names[0])[-1]
    return ""


def expert_of(file: str) -> str:
    """Such as `high noise`."""
    found = EXPERT.search(file)
    return f"{found[1].lower()} noise" if found else ""


def size_of(prompt: Prompt | None, node: str | None) -> tuple[int, int, int] | None:
    """Width, height and frames of the latent that the first sampler after a node starts from."""
    prompt = prompt or {}
    for key in _downstream(prompt, str(node)):
        inputs = prompt[key].get("inputs", {})
        for name in SAMPLES:
            if name in inputs and _is_link(inputs[name]):
                return next(filter(None, map(_size(prompt), _chain(prompt, inputs[name]))), None)
    return None


def _size(prompt: Prompt):
    def found(key: str) -> tuple[int, int, int] | None:
        inputs = prompt[key].get("inputs", {})
        numbers = [_number(prompt, inputs.get(name)) for name in SIZES]
        width, height, frames = (each or 0 for each in numbers)
        return (width, height, frames) if min(width, height, frames) > 0 else None

    return found


def _number(prompt: Prompt, value: object) -> int | None:
    """A number, or that of the node that is wired in."""
    if _is_link(value):
        inputs = prompt.get(str(value[0]), {}).get("inputs", {})
        value = inputs.get("value") if not any(map(_is_link, inputs.values())) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _upstream(prompt: Prompt, node: str) -> Iterator[str]:
    model = prompt.get(node, {}).get("inputs", {}).get("model")
    return _chain(prompt, model) if _is_link(model) else iter(())


def _chain(prompt: Prompt, link: object) -> Iterator[str]:
    """The nodes that lead to a link, nearest first."""
    waiting: list[Any] = [link]
    seen: set[str] = set()
    for each in waiting:
        key = str(each[0])
        if key in seen or key not in prompt:
            continue
        seen.add(key)
        yield key
        waiting += filter(_is_link, prompt[key].get("inputs", {}).values())


def _downstream(prompt: Prompt, node: str) -> Iterator[str]:
    """The nodes that a node leads to, nearest first."""
    waiting, seen = [node], {node}
    for each in waiting:
        for key, other in prompt.items():
            links = filter(_is_link, other.get("inputs", {}).values())
            if key not in seen and any(str(link[0]) == each for link in links):
                seen.add(key)
                waiting.append(key)
                yield key


def _is_link(value: object) -> TypeGuard[list]:
    return isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[1], int)
