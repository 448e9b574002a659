"""Real packs of other authors, where they are on this machine: ~/comfy/packs, or WANATTN_PACKS.

    git clone https://github.com/ChenDarYen/ComfyUI-NAG ~/comfy/packs/ComfyUI-NAG

and so on for the names in COMMITS. What they import and the host lacks may lie in a folder .site beside them:
`pip install --no-deps --target ~/comfy/packs/.site pywavelets matplotlib ...`. Nothing of them is kept here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import pytest
import torch

COMMITS = {  # what was read and tried
    "ComfyUI-Detail-Daemon": "3394e44",
    "ComfyUI-KJNodes": "3f20054",
    "ComfyUI-MagCache": "47bdd2a",
    "ComfyUI-NAG": "ef8a641",
    "ComfyUI-RadialAttn": "effd401",
    "ComfyUI-SolAttn_triton": "842c4ea",
    "ComfyUI-TeaCache": "91dff8e",
    "ComfyUI-WanMoeKSampler": "ee8fa8f",
    "ComfyUI-bleh": "b889683",
    "RES4LYF": "022c873",
    "pre_cfg_comfy_nodes_for_ComfyUI": "967b181",
}
# Names that a pack imports for models other than Wan, and that the host has given up since.
GONE = {
    "comfy.ldm.lightricks.model": ("precompute_freqs_cis",),
    "comfy.ldm.chroma.layers": ("DoubleStreamBlock", "SingleStreamBlock"),
    "comfy.ldm.flux.layers": ("apply_mod",),
}
# Modules that have nothing to do with Wan's attention, and parts of packs that need such modules.
ELSEWHERE = ("cv2",)
LEFT_OUT = {"ComfyUI-TeaCache": ("nodes_diffusers",)}


def folder() -> Path:
    return Path(os.environ.get("WANATTN_PACKS") or Path.home() / "comfy" / "packs").expanduser()


def load(name: str) -> ModuleType:
    """The pack, imported as the host imports it; skips the test where that cannot be."""
    path = folder() / name
    if not (path / "__init__.py").is_file():
        pytest.skip(f"{name} is not in {folder().name}; see tests/host/packs.py")
    module_name = f"tested_pack_{name.replace('-', '_')}"
    if module_name not in sys.modules:
        sys.modules[module_name] = _imported(module_name, path)
    module = sys.modules[module_name]
    if isinstance(module, _Refused):
        pytest.skip(f"{name} does not import here: {module.reason}")
    return module


class _Refused(ModuleType):
    """Stands for a pack that failed once: a second try would fail elsewhere."""

    reason = ""


def _imported(module_name: str, path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(
        module_name, path / "__init__.py", submodule_search_locations=[str(path)]
    )
    module = sys.modules[module_name] = importlib.util.module_from_spec(found)
    try:
        with _stand_ins(), _without(module_name, LEFT_OUT.get(path.name, ())):
            found.loader.exec_module(module)
    except Exception as error:
        module = _Refused(module_name)
        module.reason = f"{type(error).__name__}: {error}"
    return module


@contextmanager
def _stand_ins() -> Iterator[None]:
    """What packs expect of a running server and of older hosts, while they are imported."""
    import server
    from aiohttp import web

    site = str(folder() / ".site")
    instance = MagicMock(routes=web.RouteTableDef())
    with ExitStack() as stack:
        if site not in sys.path:
            sys.path.append(site)
        if not hasattr(server.PromptServer, "instance"):
            stack.enter_context(
                patch.object(server.PromptServer, "instance", instance, create=True)
            )
        lacking = {name: MagicMock() for name in ELSEWHERE if not _installed(name)}
        sys.modules.update(lacking)
        stack.callback(lambda: [sys.modules.pop(name) for name in lacking])
        for module_name, names in GONE.items():
            stack.enter_context(_given_back(module_name, names))
        yield


@contextmanager
def _without(module_name: str, parts: tuple[str, ...]) -> Iterator[None]:
    empty = {"NODE_CLASS_MAPPINGS": {}, "NODE_DISPLAY_NAME_MAPPINGS": {}}
    stand_ins = {}
    for part in parts:
        stand_ins[f"{module_name}.{part}"] = module = ModuleType(part)
        vars(module).update(empty)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name.partition(".")[0]) is not None


@contextmanager
def _given_back(module_name: str, names: tuple[str, ...]) -> Iterator[None]:
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        yield
        return
    lacking = [name for name in names if getattr(module, name, None) is None]
    before = {name: vars(module)[name] for name in lacking if name in vars(module)}
    for name in lacking:
        setattr(module, name, type(name, (torch.nn.Module,), {}))
    try:
        yield
    finally:
        for name in lacking:
            delattr(module, name)
        vars(module).update(before)


@contextmanager
def sparse_kernel(kernel) -> Iterator[None]:
    """RadialAttn needs a compiled kernel: this module has one of the same name that runs everywhere."""
    module = sys.modules["spas_sage_attn"] = ModuleType("spas_sage_attn")
    module.block_sparse_sage2_attn_cuda = kernel
    try:
        yield
    finally:
        del sys.modules["spas_sage_attn"]


def node(pack: ModuleType, name: str):
    """A node's function, bound to a new instance: named inputs in, its outputs out."""
    made = pack.NODE_CLASS_MAPPINGS[name]
    if hasattr(made, "EXECUTE_NORMALIZED"):
        return lambda **inputs: made.EXECUTE_NORMALIZED(**inputs).result
    return getattr(made(), made.FUNCTION)
