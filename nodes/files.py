"""Report files in the host's output folder."""

from __future__ import annotations

import json
import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths
from server import PromptServer

from ..attention import page, report
from ..attention.recorder import Snapshot
from .payload import build

if TYPE_CHECKING:
    from .tap import Tap

log = logging.getLogger("wanattn")
SUFFIXES = (".json", ".csv", ".html")
TAPPED = ("WanAttnBackend", "WanAttnDiagnostics")


def written(snapshot: Snapshot, payload: dict, prefix: str) -> str:
    """Write the files; the sentence says where they are, or why there are none."""
    try:
        paths = write(snapshot, payload, prefix)
    except Exception as error:  # the host raises a bare one for a folder outside its output folder
        reason = str(error).strip().partition("\n")[0]
        return f"The report files could not be written: {reason}. Choose another filename_prefix."
    return f"written: {', '.join(paths)}"


def write(snapshot: Snapshot, payload: dict, prefix: str) -> list[str]:
    """Write `<prefix>_00001.json`, `.csv` and `.html` under the next free number; return their names."""
    folder, name, _, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory()
    )
    stem = _free_stem(Path(folder), name)
    contents = {
        ".json": json.dumps(payload, indent=1),
        ".csv": report.csv_text(snapshot),
        ".html": page.render(payload),
    }
    for suffix, content in contents.items():
        (Path(folder) / f"{stem}{suffix}").write_text(content, encoding="utf-8", newline="")
    return [f"{subfolder}/{stem}{suffix}".lstrip("/") for suffix in contents]


def _free_stem(folder: Path, name: str) -> str:
    number = 1
    while any((folder / f"{name}_{number:05}{suffix}").exists() for suffix in SUFFIXES):
        number += 1
    return f"{name}_{number:05}"


def write_unfinished(tap: Tap, model) -> None:
    """Write the report of a run that was interrupted or failed, for every Attention Report that waits for it."""
    snapshot = tap.recorder.snapshot()
    payload = build(tap, model, snapshot)
    for prefix in _waiting_prefixes(tap):
        log.info("node %s: %s", tap.node, written(snapshot, payload, prefix))


def _waiting_prefixes(tap: Tap) -> list[str]:
    if getattr(PromptServer, "instance", None) is None:  # sampled without a server
        return []
    running, _ = PromptServer.instance.prompt_queue.get_current_queue()
    prompts = [item[2] for item in running if item[1] == tap.recorder.job]
    return [
        node["inputs"]["filename_prefix"]
        for prompt in prompts
        for node in prompt.values()
        if node["class_type"] == "WanAttnReport" and _nearest_tap(prompt, node) == tap.node
    ]


def _nearest_tap(prompt: dict, node: dict) -> str | None:
    """The first Attention Backend or Diagnostics upstream of a node's model input, by links."""
    waiting, seen = deque([node["inputs"].get("model")]), set()
    while waiting:
        link = waiting.popleft()
        if not isinstance(link, list) or link[0] in seen or link[0] not in prompt:
            continue
        seen.add(link[0])
        source = prompt[link[0]]
        if source["class_type"] in TAPPED:
            return str(link[0])
        waiting.extend(source["inputs"].values())
    return None
