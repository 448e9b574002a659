"""The pack's nodes in this process, prepared and called the way the host's executor does it."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

NUMBERS = ("default", "min", "max", "step", "advanced")  # of an input, beside its words


@dataclass(frozen=True)
class Report:
    """What the report node gave and wrote."""

    after: object
    text: str
    payload: dict
    lines: list[dict[str, str]]
    files: tuple[Path, ...]

    def counts(self, *columns: str) -> Counter:
        """Lines of the CSV by the values of these columns."""
        return Counter(tuple(line[column] for column in columns) for line in self.lines)


class Workbench:
    def __init__(self, output: Path):
        import wanattn

        extension = asyncio.run(wanattn.comfy_entrypoint())
        classes = asyncio.run(extension.get_node_list())
        self.nodes = {node.GET_SCHEMA().node_id: node for node in classes}
        self.output = output
        self.extra_pnginfo: dict = {"workflow": {"nodes": []}}
        self.prompt: dict = {}

    def run(self, node_id: str, unique_id: str, prompt_id: str = "prompt", **inputs):
        from comfy_api.latest import io
        from comfy_execution.utils import CurrentNodeContext

        hidden = {
            io.Hidden.unique_id: unique_id,
            io.Hidden.prompt: self.prompt,
            io.Hidden.extra_pnginfo: self.extra_pnginfo,
        }
        node = self.nodes[node_id].PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
        with CurrentNodeContext(prompt_id, unique_id, 0):
            return node.EXECUTE_NORMALIZED(**inputs).result

    def asked(self, node_id: str) -> dict[str, tuple[str, dict]]:
        """A node's inputs: whether each is required, its default and its limits."""
        told = self.nodes[node_id].INPUT_TYPES()
        return {
            name: (kind, {key: facts[key] for key in NUMBERS if key in facts})
            for kind in ("required", "optional")
            for name, (_, facts) in told.get(kind, {}).items()
        }

    def backend(self, model, backend: str = "flash", on_refusal: str = "next best", at: str = "10"):
        inputs = {"model": model, "backend": backend, "on_refusal": on_refusal}
        return self.run("WanAttnBackend", at, **inputs)[0]

    def diagnostics(self, model, at: str = "20"):
        return self.run("WanAttnDiagnostics", at, model=model)[0]

    def report(self, model, after=None, prefix: str = "wanattn/report", at: str = "30") -> Report:
        inputs = {"model": model, "after": after, "filename_prefix": prefix}
        after, text, *_ = self.run("WanAttnReport", at, **inputs)
        return read_report(self.output, prefix, after, text)


def read_report(output: Path, prefix: str, after=None, text: str = "") -> Report:
    """The newest files of this prefix."""
    payload_path = sorted(output.glob(f"{prefix}_*.json"))[-1]
    lines_path = payload_path.with_suffix(".csv")
    with lines_path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    payload = json.loads(payload_path.read_text(encoding="utf-8"))
    return Report(after, text, payload, lines, (payload_path, lines_path))
