"""A workflow in ComfyUI's API format: node id to class and inputs. Pure functions that give changed copies."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from ....attention.wan import Video

Prompt = dict[str, dict]
Link = tuple[str, int]  # node id, output slot
EXPORT = "open it in ComfyUI and choose Workflow > Export (API) in the menu"
SEEDS = ("seed", "noise_seed")
MEASURES = ("width", "height", "length")


def load(path: Path) -> Prompt:
    """Raises ValueError with a sentence for whatever is not a workflow in the API format."""
    if path.is_dir():  # which Windows would call a want of permission
        raise ValueError(f"{path} is a folder, needs a workflow in the API format")
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(
            f"cannot read {path} ({error.strerror}), needs a workflow in the API format"
        ) from None
    except (ValueError, RecursionError):
        raise ValueError(
            f"{path} is not JSON, needs a workflow in the API format: {EXPORT}"
        ) from None
    return checked(data, path.name)


def checked(data: object, name: str) -> Prompt:
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
        data = data["prompt"]  # the body of a request to the server
    if isinstance(data, dict) and isinstance(data.get("nodes"), list) and "links" in data:
        raise ValueError(
            f"{name} is a workflow as the page saves it, needs the API format: {EXPORT}"
        )
    if not isinstance(data, dict) or not all(isinstance(node, dict) for node in data.values()):
        raise ValueError(f"{name} holds no nodes, needs a workflow in the API format: {EXPORT}")
    if not data:
        raise ValueError(f"{name} is empty, needs a workflow in the API format: {EXPORT}")
    for key, node in data.items():
        _check_node(data, key, node, name)
    return data


def _check_node(prompt: Prompt, key: str, node: dict, name: str) -> None:
    if node.get("class_type", "") is None:  # what the page writes for a type that its server lacks
        raise ValueError(
            f"node {key} of {name} is of a type that the ComfyUI it was exported from does not have: "
            "install its pack or update ComfyUI, then export again"
        )
    if not isinstance(node.get("class_type"), str) or not isinstance(node.get("inputs"), dict):
        raise ValueError(
            f"node {key} of {name} has no class_type and inputs, needs the API format: {EXPORT}"
        )
    for taken, value in node["inputs"].items():
        if _is_link(value) and value[1] % 1 != 0:  # nor is infinity or NaN
            raise ValueError(
                f"{title(prompt, key)} takes its {taken} from output {value[1]} of node {value[0]}, "
                "needs a whole number: export the workflow again"
            )
    for taken, (source, _) in links(node).items():
        if source not in prompt:
            raise ValueError(
                f"{title(prompt, key)} takes its {taken} from node {source}, which is not in {name}: "
                "export the workflow again"
            )


def links(node: Mapping) -> dict[str, Link]:
    """The linked inputs of a node by name, by ComfyUI's own definition of a link."""
    return {
        name: (value[0], int(value[1])) for name, value in node["inputs"].items() if _is_link(value)
    }


def _is_link(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
    )


def title(prompt: Prompt, key: str) -> str:
    """How a node is called in sentences and rows."""
    return f"{prompt[key]['class_type']} {key}"


def renamed(prompt: Prompt, names: Mapping[str, str]) -> Prompt:
    """With other ids for some nodes, and every link following."""
    result = {names.get(key, key): copy.deepcopy(node) for key, node in prompt.items()}
    for node in result.values():
        for name, (source, slot) in links(node).items():
            node["inputs"][name] = [names.get(source, source), slot]
    return result


def clips(prompt: Prompt) -> list[str]:
    """The nodes that decide the size of the video: those with a width, a height and a length."""
    return [key for key, node in prompt.items() if all(name in node["inputs"] for name in MEASURES)]


def clip_of(prompt: Prompt) -> tuple[str, int]:
    """Size and frames as the workflow says them; empty and 0 where it leaves them to a link."""
    said = {tuple(prompt[key]["inputs"][name] for name in MEASURES) for key in _said(prompt)}
    if len(said) != 1:
        return "", 0
    width, height, length = said.pop()
    return f"{width}x{height}", length


def _said(prompt: Prompt) -> list[str]:
    nodes = {key: prompt[key]["inputs"] for key in clips(prompt)}
    return [
        key
        for key, inputs in nodes.items()
        if all(isinstance(inputs[name], int) for name in MEASURES)
    ]


def with_clip(prompt: Prompt, frames: int | None, size: str | None) -> Prompt:
    """With another length and size, in place of links too; None leaves them. Raises ValueError for what Wan cannot."""
    clip = Video.of(size or "832x480", frames or 81)
    wanted = {"length": clip.frames} if frames else {}
    wanted |= {"width": clip.width, "height": clip.height} if size else {}
    if not wanted:
        return prompt
    if not clips(prompt):
        raise ValueError(
            "no node of the workflow has width, height and length, needs one such as EmptyHunyuanLatentVideo: "
            "leave out --frames and --size and set them in the workflow"
        )
    result = copy.deepcopy(prompt)
    for key, name in sized(prompt, wanted):
        result[key]["inputs"][name] = wanted[name]
    return result


def sized(prompt: Prompt, measures: Collection[str]) -> list[tuple[str, str]]:
    """The nodes and inputs to set for another size; what such a node passes on to another follows by itself."""
    found = clips(prompt)
    return [
        (key, name)
        for key in found
        for name in measures
        if links(prompt[key]).get(name, ("", 0))[0] not in found
    ]


def overruled(before: Prompt, after: Prompt) -> list[str]:
    """A sentence for each link of `before` that gave way to a number in `after`."""
    return [
        f"{title(before, key)}: {name} {after[key]['inputs'][name]} in place of what "
        f"{title(before, source)} gives it"
        for key in clips(before)
        for name, (source, _) in links(before[key]).items()
        if name not in links(after[key])
    ]


def with_seed(prompt: Prompt, seed: int) -> Prompt:
    """With one seed for every node that has one of its own."""
    result = copy.deepcopy(prompt)
    for node in result.values():
        for name in SEEDS:
            if isinstance(node["inputs"].get(name), int):
                node["inputs"][name] = seed
    return result
