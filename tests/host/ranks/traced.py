"""What an actor really ran, by torch's execution trace.

An actor has no inference mode, so that math is taken apart before a dispatch mode sees it; the trace knows every operator,
and those that it was called within. In a folder that Ray's workers have on their path.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from importlib import util
from pathlib import Path

from torch.profiler import ExecutionTraceObserver, record_function

LAYERS = ("self_attn", "cross_attn")
MARK = "attention in"


def _counting():
    """The tests' counter of other places, of which nothing but its list of kernels and its steps is used here."""
    path = Path(__file__).parents[1] / "counting.py"
    spec = util.spec_from_file_location("independent_counting", path)
    module = sys.modules[spec.name] = util.module_from_spec(spec)  # a dataclass looks it up
    spec.loader.exec_module(module)
    return module


class Trace:
    """Between start and stop, each attention call by its module, step and kernel."""

    def __init__(self, model) -> None:
        self._known = _counting()
        self._file = Path(tempfile.mkdtemp(prefix="traced"), "trace.json")
        self._observer = ExecutionTraceObserver()
        self._step: int | None = None
        self._put = ExitStack()
        for name, module in model.model.diffusion_model.named_modules():
            if name.endswith(LAYERS):
                self._mark(name, module)

    def start(self) -> None:
        self._put.enter_context(self._known._stepped(self._at))
        self._observer.register_callback(str(self._file))
        self._observer.start()

    def stop(self) -> list[tuple[str, int, str]]:
        self._observer.stop()
        self._observer.unregister_callback()
        self._put.close()
        nodes = {node["id"]: node for node in json.loads(self._file.read_text())["nodes"]}
        kernels = {f"aten::{name}": kernel for name, kernel in self._known.KERNELS.items()}
        return [
            (*_place(nodes, node), kernels[node["name"]])
            for node in nodes.values()
            if node["name"] in kernels
        ]

    def _at(self, step: int | None) -> None:
        self._step = step

    def _mark(self, name: str, module) -> None:
        marks: list[record_function] = []

        def begin(module, inputs) -> None:
            marks.append(record_function(f"{MARK} {name} {self._step}"))
            marks[-1].__enter__()

        def end(module, inputs, output) -> None:
            marks.pop().__exit__(None, None, None)

        for hook in (module.register_forward_pre_hook(begin), module.register_forward_hook(end)):
            self._put.callback(hook.remove)


def _place(nodes: dict[int, dict], node: dict) -> tuple[str, int]:
    """Module and step of the nearest mark above an operator."""
    while not node["name"].startswith(MARK):
        node = nodes[node["ctrl_deps"]]
    module, step = node["name"].removeprefix(MARK).split()
    return module, int(step)


def start(model) -> None:
    model.traced = Trace(model)
    model.traced.start()


def stop(model) -> list[tuple[str, int, str]]:
    return model.traced.stop()
