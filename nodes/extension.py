"""What ComfyUI loads: every node of the pack."""

from __future__ import annotations

from comfy_api.v0_0_2 import ComfyExtension, io

from .backend import WanAttnBackend
from .benchmark import WanAttnBenchmark
from .diagnostics import WanAttnDiagnostics
from .host import functions
from .host.report import remains
from .raylight.backend import WanAttnRayBackend
from .raylight.present import raylight_is_here
from .raylight.report import WanAttnRayReport
from .report import WanAttnReport
from .rule import WanAttnRule
from .schedule import WanAttnSchedule
from .wrapper.installed import installed
from .wrapper.nodes import WanAttnWrapperBackend, WanAttnWrapperDiagnostics

functions.register_all()
NODES: list[type[io.ComfyNode]] = [
    WanAttnBackend,
    WanAttnRule,
    WanAttnSchedule,
    WanAttnDiagnostics,
    WanAttnReport,
    WanAttnBenchmark,
]
RAYLIGHT: list[type[io.ComfyNode]] = [WanAttnRayBackend, WanAttnRayReport]
WRAPPER: list[type[io.ComfyNode]] = [WanAttnWrapperBackend, WanAttnWrapperDiagnostics]


class Extension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        remains.recover()  # here, since ComfyUI 0.8 never says that it loads an extension
        others = [*(RAYLIGHT if raylight_is_here() else []), *(WRAPPER if installed() else [])]
        return [*NODES, *others]
