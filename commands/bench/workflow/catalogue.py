"""What a server says about its node classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OPEN = "*"  # a node that gives this may have more outputs than are listed
ANYTHING = (OPEN, "COMFY_MATCHTYPE_V3")  # types of nodes that pass on whatever they are given


@dataclass(frozen=True)
class Catalogue:
    """`classes` is the answer to /object_info."""

    classes: Mapping[str, dict]

    def __contains__(self, class_type: str) -> bool:
        return class_type in self.classes

    def outputs(self, class_type: str) -> list[str]:
        """The types that a node of this class gives; a list of choices counts as COMBO."""
        given = self.classes[class_type].get("output") or []
        return [kind if isinstance(kind, str) else "COMBO" for kind in given]

    def output(self, class_type: str, slot: int) -> str:
        given = self.outputs(class_type)
        return given[slot] if 0 <= slot < len(given) else ""

    def lacks(self, class_type: str, slot: int) -> bool:
        """Whether it is known that there is no such output."""
        listed = isinstance(self.classes[class_type].get("output"), list)
        given = self.outputs(class_type) if listed else [OPEN]
        return slot < 0 or (slot >= len(given) and OPEN not in given)

    def input(self, class_type: str, name: str) -> str:
        """The type that an input takes, empty for one that is not listed."""
        kind = (self._declared(class_type, name) or [""])[0]
        return kind if isinstance(kind, str) else "COMBO"

    def choices(self, class_type: str, name: str) -> list[str]:
        """What a combo offers; ComfyUI has had two ways to say it."""
        declared = self._declared(class_type, name)
        if declared and isinstance(declared[0], list):
            return declared[0]
        facts = declared[1] if len(declared) > 1 else {}
        return facts.get("options") or []

    def is_output(self, class_type: str) -> bool:
        return bool(self.classes[class_type].get("output_node"))

    def _declared(self, class_type: str, name: str) -> list:
        groups = self.classes.get(class_type, {}).get("input") or {}
        for group in ("required", "optional"):
            if name in (groups.get(group) or {}):
                return groups[group][name]
        return []
