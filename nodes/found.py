"""How a node and its inputs are found: words to search for, and what most users need not see."""

from __future__ import annotations

import dataclasses

from comfy_api.v0_0_2 import io

ADVANCED = {"advanced": True}  # older hosts and their pages take no notice of it
KNOWN = {field.name for field in dataclasses.fields(io.Schema)}


def found_by(*words: str) -> dict:
    """What to give a Schema besides its own parts; nothing where its host has no such field."""
    return {"search_aliases": list(words)} if "search_aliases" in KNOWN else {}
