"""Where the Attention nodes go in a workflow, and which backend they are set to."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from .catalogue import ANYTHING, Catalogue
from .prompt import Link, Prompt, links, renamed, title

MODEL = "MODEL"
BACKEND, DIAGNOSTICS, REPORT = "WanAttnBackend", "WanAttnDiagnostics", "WanAttnReport"
OURS = (BACKEND, DIAGNOSTICS)
BENCHMARK = "WanAttnBenchmark"
FOLLOWERS = (REPORT, BENCHMARK)  # take a model but do not sample
HALFWAY = {"GUIDER", "SIGMAS"}  # what leads to a sampler without being its result


@dataclass(frozen=True)
class Wiring:
    """A workflow with an Attention Backend and an Attention Diagnostics before every sampler.

    `samplers` are the nodes that sample, `watchers` the diagnostics, `added` what the workflow did not have.
    """

    prompt: Prompt
    samplers: tuple[str, ...]
    watchers: tuple[str, ...]
    added: tuple[str, ...]
    notes: tuple[str, ...]

    def variant(self, backend: str, token: str) -> tuple[Prompt, dict[str, str]]:
        """The prompt of one run, and what its nodes are called in the workflow.

        The Attention nodes get ids that no run had before: ids are part of the server's cache keys there, so whatever
        is behind them runs again, and what is before them, such as the loaders, does not.
        """
        prompt = copy.deepcopy(self.prompt)
        for key in switchable(prompt):
            prompt[key]["inputs"]["backend"] = backend
        ours = [key for key, node in prompt.items() if node["class_type"] in OURS]
        fresh = {key: f"wanattn-{token}-{key}" for key in ours}
        return renamed(prompt, fresh), {new: key for key, new in fresh.items()}


def wire(prompt: Prompt, catalogue: Catalogue) -> Wiring:
    """Raises ValueError where there is nothing to switch."""
    found = consumers(prompt, catalogue)
    if not found:
        raise ValueError(
            "no node of the workflow samples a MODEL, needs a sampler such as KSampler with ComfyUI's own Wan model "
            "(packs with loaders and samplers of their own, such as WanVideoWrapper, have other models)"
        )
    result, added = copy.deepcopy(prompt), []
    for source in dict.fromkeys(source for _, _, source in found):
        new = _insert(result, catalogue, source)
        added += new
        if new:
            _reroute(result, found, source, (new[-1], 0))
    notes = _lighten(result)
    if not switchable(result):
        raise ValueError(
            "every Attention Backend of the workflow takes its backend from a link, needs one set on the node: "
            "unlink it and export again"
        )
    watchers = tuple(key for key, node in result.items() if node["class_type"] == DIAGNOSTICS)
    return Wiring(
        result, samplers(prompt, catalogue), watchers, tuple(added), (*notes, *_notes(result))
    )


def switchable(prompt: Prompt) -> list[str]:
    """The Attention Backends whose backend is set on the node."""
    return [
        key
        for key, node in prompt.items()
        if node["class_type"] == BACKEND and "backend" not in links(node)
    ]


def consumers(prompt: Prompt, catalogue: Catalogue) -> list[tuple[str, str, Link]]:
    """Where models end: the nodes that sample one or lead to it, by which input, from where."""
    return [
        (key, name, source)
        for key in prompt
        if _ends_models(prompt[key]["class_type"], catalogue)
        for name, source in models_into(prompt, catalogue, key).items()
    ]


def _ends_models(class_type: str, catalogue: Catalogue) -> bool:
    gives = catalogue.outputs(class_type)
    if class_type in (*OURS, *FOLLOWERS):
        return False
    passes_on = any(kind in (MODEL, *ANYTHING) for kind in gives)
    # A sampler may also pass its model on, or show what it sampled; what saves a model does neither.
    return "LATENT" in gives or not (passes_on or catalogue.is_output(class_type))


def models_into(
    prompt: Prompt, catalogue: Catalogue, key: str, through: bool = False
) -> dict[str, Link]:
    """The inputs of a node that take a model, and from where. `through`: also those that take anything."""
    class_type = prompt[key]["class_type"]
    takes = (MODEL, *ANYTHING) if through else (MODEL,)
    found = {}
    for name, source in links(prompt[key]).items():
        given = catalogue.output(prompt[source[0]]["class_type"], source[1])
        if given == MODEL or (given in ANYTHING and catalogue.input(class_type, name) in takes):
            found[name] = source
    return found


def samplers(prompt: Prompt, catalogue: Catalogue) -> tuple[str, ...]:
    """The nodes that sample themselves or through a guider."""
    ends = {key for key, _, _ in consumers(prompt, catalogue)}
    guided = {
        key
        for key, node in prompt.items()
        for source, slot in links(node).values()
        if catalogue.output(prompt[source]["class_type"], slot) == "GUIDER"
    }
    return tuple(
        key
        for key in prompt
        if key in ends | guided and not set(catalogue.outputs(prompt[key]["class_type"])) <= HALFWAY
    )


def upstream(prompt: Prompt, catalogue: Catalogue, source: Link) -> set[str]:
    """The classes of the nodes that a model has come through."""
    waiting, seen = [source[0]], set()
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            waiting += [link[0] for link in models_into(prompt, catalogue, key, True).values()]
    return {prompt[key]["class_type"] for key in seen}


def _insert(prompt: Prompt, catalogue: Catalogue, source: Link) -> list[str]:
    """Add what is missing behind a model; gives the new nodes in their order."""
    before = upstream(prompt, catalogue, source)
    literals = {BACKEND: {"backend": "host", "on_refusal": "next best"}, DIAGNOSTICS: {}}
    new: list[str] = []
    for class_type in OURS:
        if class_type in before:
            continue
        key = _free(prompt, class_type)
        prompt[key] = {
            "class_type": class_type,
            "inputs": {"model": list(source), **literals[class_type]},
        }
        source = (key, 0)
        new.append(key)
    return new


def _free(prompt: Prompt, class_type: str) -> str:
    number = 1
    while f"{class_type}-{number}" in prompt:
        number += 1
    return f"{class_type}-{number}"


def _reroute(
    prompt: Prompt, found: list[tuple[str, str, Link]], source: Link, target: Link
) -> None:
    """Hand the patched model to the samplers, and to the reports that had the same one."""
    followers = [
        (key, name, link)
        for key, node in prompt.items()
        if node["class_type"] == REPORT
        for name, link in links(node).items()
    ]
    for key, name, link in [*found, *followers]:
        if link == source:
            prompt[key]["inputs"][name] = list(target)


def _lighten(prompt: Prompt) -> list[str]:
    """Proof of every call is slow, and capture writes gigabytes: no state to be measured in."""
    notes = []
    for key, node in prompt.items():
        heavy = {"evidence": "sample"} if node["inputs"].get("evidence") == "every call" else {}
        heavy |= {"capture": ""} if node["inputs"].get("capture") else {}
        if node["class_type"] == DIAGNOSTICS and heavy and not heavy.keys() & links(node).keys():
            node["inputs"].update(heavy)
            what = " and ".join(f"{name} '{value}'" for name, value in heavy.items())
            notes.append(f"{title(prompt, key)} ran with {what}, so as not to be measured too.")
    return notes


def _notes(prompt: Prompt) -> tuple[str, ...]:
    notes = []
    for key, node in prompt.items():
        if node["class_type"] == BENCHMARK:
            notes.append(
                f"{title(prompt, key)} may measure in every run and make it longer; bypass it and export again."
            )
        if node["class_type"] != BACKEND:
            continue
        if "backend" in links(node):
            notes.append(
                f"{title(prompt, key)} takes its backend from a link and was left as it is."
            )
        elif "rules" in links(node):
            notes.append(
                f"{title(prompt, key)} has rules; they hold in every setting, in host too."
            )
    return tuple(notes)
