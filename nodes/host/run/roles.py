"""Which modules of a model call attention, and what for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import comfy.ldm.modules.attention as host_attention
import torch
import torch.nn.functional as F
from comfy.ldm.wan.model import WanModel

from ....attention.record.name import owner_of
from ....attention.run.follow import calling, running
from ....attention.run.site import CROSS, Site
from ..override import HOME
from ..report.facts import parts_of

# By a word in a module's place or class; what a video is made to follow stands before the rest.
SPECIAL = {
    "singlestream": "speech",
    "audio": "audio",
    "music": "music",
    "face": "face",
    "uni3c": "camera",
}
BLOCK = re.compile(r"(?:^|\.)\w*(?:blocks|injector)\.(\d+)(?:\.|$)")


def host_functions() -> list[Callable]:
    """The host's attention functions, whatever their names."""
    registered = getattr(
        host_attention, "REGISTERED_ATTENTION_FUNCTIONS", {}
    )  # not before core 0.4
    named = [
        vars(host_attention).get(name)
        for name in ("optimized_attention", "optimized_attention_masked")
    ]
    plain = [value for name, value in vars(host_attention).items() if name.startswith("attention_")]
    functions = (*named, *registered.values(), *plain)
    return list({id(function): function for function in functions if callable(function)}.values())


def sites_of(model) -> list[Site]:
    """Of a model and of what is patched into it."""
    functions = [*host_functions(), F.scaled_dot_product_attention]
    wan = isinstance(model.model.diffusion_model, WanModel)
    return [
        _site(name, module, modules, wan)
        for modules in _modules(model)
        for name, module in calling(modules.items(), functions)
    ]


def _modules(model) -> Iterator[dict[str, torch.nn.Module]]:
    """By their names: those of the model, of its copies on other devices, and of what is patched into it."""
    parts = parts_of(model)
    yield from (dict(part.model.diffusion_model.named_modules()) for part in parts)
    known = {id(part.model) for part in parts}
    for patch in (*model.model_patches_models(), *model.get_nested_additional_models()):
        added = getattr(patch, "model", None)
        if isinstance(added, torch.nn.Module) and id(added) not in known:
            known.add(id(added))
            yield dict(added.named_modules(prefix=type(added).__name__))


def _site(name: str, module: torch.nn.Module, modules: dict, wan: bool) -> Site:
    around = tuple(modules[path] for path in _above(name) if path in modules)
    block = BLOCK.search(name)
    role = role_of(name, module) if wan else ""
    home = HOME if wan else (*HOME, owner_of(type(module)))
    return Site(module, name, role, int(block[1]) if block else None, around, home)


def _above(name: str) -> Iterator[str]:
    """The places around a place, the nearest first, the whole model last."""
    while name:
        name, _, _ = name.rpartition(".")
        yield name


class Places:
    """Where each module of a model stands, for calls that a site does not tell the role of."""

    def __init__(self, model) -> None:
        self._model = model
        self._names: dict[int, str] = {}

    def role(self) -> str:
        """Of the call that this thread is about to make, empty where no module of the model makes it."""
        modules = self._model.model.diffusion_model
        if not isinstance(modules, WanModel):
            return ""
        self._names = self._names or {
            id(module): name
            for part in parts_of(self._model)
            for name, module in part.model.diffusion_model.named_modules()
            if name
        }
        name = running(self._names)
        if not name:
            return ""
        role = role_of(name, modules.get_submodule(name))
        return "" if role == CROSS and "cross" not in name else role


def role_of(name: str, module: torch.nn.Module) -> str:
    """Of a module of one of Wan's models, by its place and its class."""
    words = f"{name} {type(module).__name__}".lower()
    for word, role in SPECIAL.items():
        if word in words:
            return role
    last = name.rpartition(".")[2]
    vace = name.startswith("vace_blocks.")
    if "self" in last:
        return "vace self" if vace else "self"
    return "vace text" if vace else CROSS
