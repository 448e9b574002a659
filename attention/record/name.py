"""How to call a function that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable


def name_of(function: Callable) -> str:
    """How to call a function in a report: attention_sub_quad is `sub_quad`, others keep their full name."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if name.startswith("attention_"):
        return name.removeprefix("attention_")
    module = getattr(function, "__module__", None) or type(function).__module__
    if module.partition(".")[0] == "torch":
        return name
    # ComfyUI loads a pack under the path of its folder, which is nobody's business.
    folder = module.replace("\\", "/").rpartition("/")[2]
    return f"{folder.rpartition('.')[2]}.{name}".replace("<locals>.", "")
