"""Why a server does not run a workflow, as sentences for the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .answers import refusals, said
from .catalogue import Catalogue
from .prompt import Prompt, links, title

SHOWN = 8  # choices of a list
MEMORY = ("OutOfMemoryError", "out of memory", "Allocation on device")


def unknown_classes(prompt: Prompt, catalogue: Catalogue) -> str:
    """Names the nodes that the server does not have; empty for none."""
    missing = [title(prompt, key) for key in prompt if prompt[key]["class_type"] not in catalogue]
    if not missing:
        return ""
    return (
        f"the server does not know {', '.join(missing)}: install their custom nodes there and restart it, "
        "or use the server that the workflow was made on"
    )


def missing_outputs(prompt: Prompt, catalogue: Catalogue) -> str:
    """Names the links to outputs that the server's nodes do not have; empty for none."""
    wrong = [
        f"{title(prompt, key)} takes its {name} from output {slot} of {title(prompt, source)}, "
        f"{_needed(catalogue.outputs(prompt[source]['class_type']))}"
        for key, node in prompt.items()
        for name, (source, slot) in links(node).items()
        if catalogue.lacks(prompt[source]["class_type"], slot)
    ]
    if not wrong:
        return ""
    return (
        f"{'; '.join(wrong)}: connect it again and export again, "
        "or use the server that the workflow was made on"
    )


def _needed(outputs: Sequence[str]) -> str:
    if not outputs:
        return "which has none"
    known = " or ".join(f"{slot} ({kind})" for slot, kind in enumerate(outputs))
    return f"needs {known}"


def no_wan(reports: Iterable[Mapping]) -> str:
    """Names the models that the diagnostics reported; empty where one of them is Wan, or nothing is known."""
    models = [report.get("model") or {} for report in reports]
    if not models or any(model.get("wan") for model in models):
        return ""
    names = ", ".join(dict.fromkeys(said(model.get("class")) for model in models))
    return (
        f"the workflow's model is {names}, needs a Wan model: "
        "load one in the workflow, or add --any-model to measure this one"
    )


def refusal(answer: dict, catalogue: Catalogue) -> str:
    """What the server said to a workflow that it did not queue, or not all of."""
    sentences = [
        _of_node(f"{kind} {key}", kind, error, catalogue) for key, kind, error in refusals(answer)
    ]
    if not sentences:
        error = answer.get("error")
        sentences = [_joined(error if isinstance(error, dict) else {"message": error})]
    more = [f"and {len(sentences) - SHOWN} more"] if len(sentences) > SHOWN else []
    return f"the server refuses the workflow: {'; '.join([*sentences[:SHOWN], *more])}"


def _of_node(node: str, class_type: str, error: dict, catalogue: Catalogue) -> str:
    facts = error.get("extra_info")
    facts = facts if isinstance(facts, dict) else {}
    name, value = said(facts.get("input_name")), said(facts.get("received_value"))
    if error.get("type") != "value_not_in_list":
        return f"{node}: {_joined(error)}"
    choices = [said(choice) for choice in catalogue.choices(class_type, name)]
    more = f" and {len(choices) - SHOWN} more" if len(choices) > SHOWN else ""
    has = f"it has {', '.join(choices[:SHOWN])}{more}" if choices else "it has none"
    return (
        f"{node} wants {name} '{value}', which the server does not have, {has}: "
        "put the file there or choose another in the workflow"
    )


def _joined(error: dict) -> str:
    parts = [said(error.get(part) or "") for part in ("message", "details")]
    return ": ".join(filter(None, parts)) or "no reason given, see its log"


def failure(event: dict, where: str) -> str:
    """Of an execution_error; `where` is the node as the user calls it."""
    kind = str(event.get("exception_type") or "")
    message = said(str(event.get("exception_message") or "").split("TIPS:")[0])
    if any(sign in f"{kind} {message}" for sign in MEMORY):
        return f"{where} ran out of memory ({message}): use fewer --frames or a smaller --size"
    return f"{where} failed: {message or kind or 'no reason given'}"
