"""A module of a model that calls attention, and who has taken its calls off the hook."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..record.name import name_of, owner_of

REPLACEABLE = ("forward", "forward_orig")  # of a module, by other packs
CROSS = "cross"  # a role that the length of the keys tells: text or image


@dataclass(frozen=True, eq=False, slots=True)
class Site:
    """`name` is the module's place in the model, `role` empty where the lengths of its calls decide.

    `around` are the modules that it stands in, the nearest first; `home` are the packages that the model comes from.
    """

    module: torch.nn.Module
    name: str
    role: str = ""
    block: int | None = None
    around: tuple[torch.nn.Module, ...] = ()
    home: tuple[str, ...] = ()

    def how(self) -> str:
        """Who made this module's calls go past the hook, as far as the model shows it."""
        for module in (self.module, *self.around):
            for name in REPLACEABLE:
                function = vars(module).get(name)
                owner = owner_of(function)
                if callable(function) and owner and owner not in self.home:
                    return f"{name} of {type(module).__name__} replaced by {owner} ({name_of(function)})"
            owner = owner_of(type(module))
            if owner not in (*self.home, "torch"):
                return f"class replaced by {owner} ({type(module).__name__})"
        return f"{type(self.module).__name__} passes no options on"
