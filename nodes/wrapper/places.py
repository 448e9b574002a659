"""Where in a model of WanVideoWrapper a call is made, by the module whose method makes it."""

from __future__ import annotations

from types import FrameType

import torch

from ...attention.run.follow import running
from ...attention.run.forward import Forward, Place
from ...attention.run.site import CROSS
from ..host.run.roles import BLOCK, role_of

COMPILED = "_orig_mod."
VACE = "vace text"  # or self, by length


class Same:
    """In the place of the facts of a call, equal to itself alone."""

    __slots__ = ()


class Places:
    def __init__(self, transformer: torch.nn.Module) -> None:
        self._modules = {id(m): name for name, m in transformer.named_modules() if name}
        self._roles: dict[str, str] = {}
        self._modes: dict[str, str] = {}
        self._blocks: dict[str, int | None] = {}
        self._transformer = transformer
        self.placed: dict[tuple, Place] = {}  # by all that decides within a run
        self._known: dict[tuple, dict] = {}
        self._same: dict[tuple, tuple[Same]] = {}

    def known(self, *lengths_and_roles: object) -> dict:
        """What was found out in this run's forwards of which the same holds."""
        return self._known.setdefault(lengths_and_roles, {})

    def running(self, frame: FrameType) -> str:
        """The innermost module whose method runs in `frame` or above it."""
        return running(self._modules, frame)

    def of(
        self, forward: Forward, name: str, q_len: int, kv_len: int, other: str
    ) -> tuple[str, int | None]:
        """Role and block of a call that the module of that name makes.

        `other` is the role of a context that is neither text nor image.
        """
        block, role = self._block(name), self._role(name)
        if role in ("", CROSS, VACE):
            role = self._by_length(forward, q_len, kv_len, role, other)
        return role, block

    def same(self, *facts: object) -> tuple[Same]:
        """What stands for these facts within this run: they are compared once, not with every call."""
        return self._same.setdefault(facts, (Same(),))

    def mode(self, name: str) -> str:
        """The mode that the module was loaded with."""
        if name not in self._modes:
            module = self._transformer.get_submodule(name)
            self._modes[name] = str(getattr(module, "attention_mode", ""))
        return self._modes[name]

    def _block(self, name: str) -> int | None:
        if name not in self._blocks:
            found = BLOCK.search(name)
            self._blocks[name] = int(found[1]) if found else None
        return self._blocks[name]

    def _role(self, name: str) -> str:
        """Empty where the module is a whole block or none, which tells nothing but whose it is."""
        if name not in self._roles:
            plain = name.replace(COMPILED, "").removesuffix("._orig_mod")
            whole = not plain or plain.rpartition(".")[2].isdigit()
            vace = VACE if plain.startswith("vace_blocks.") else ""
            module = self._transformer.get_submodule(name)
            self._roles[name] = vace if whole else role_of(plain, module)
        return self._roles[name]

    def _by_length(self, forward: Forward, q_len: int, kv_len: int, role: str, other: str) -> str:
        if role != CROSS and q_len == kv_len and kv_len != forward.text_len:
            return f"{role.removesuffix('text')}self"
        if role not in ("", CROSS):
            return role
        if kv_len == forward.text_len:
            return "text"
        return "image" if kv_len == forward.image_len else other
