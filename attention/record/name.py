"""How to call a function that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable


def owner_of(function: object) -> str:
    """The package, or the folder of the pack, that a function or a class comes from; empty for what has none."""
    function = getattr(function, "func", getattr(function, "__func__", function))  # partial, method
    module = getattr(function, "__module__", None)
    if not isinstance(module, str) or not callable(function):
        return ""
    return _folder(module).partition(".")[0]


def name_of(function: Callable) -> str:
    """How to call a function in a report: attention_sub_quad is `sub_quad`, others keep their full name."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if name.startswith("attention_"):
        return name.removeprefix("attention_")
    module = getattr(function, "__module__", None) or type(function).__module__
    if module.partition(".")[0] == "torch":
        return name
    return f"{_folder(module).rpartition('.')[2]}.{name}".replace("<locals>.", "")


def _folder(module: str) -> str:
    """ComfyUI loads a pack under the path of its folder, which is nobody's business."""
    return module.replace("\\", "/").rpartition("/")[2]
