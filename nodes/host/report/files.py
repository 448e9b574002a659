"""Report files in the host's output folder."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Collection
from pathlib import Path

import folder_paths
from server import PromptServer

from ....attention import disk
from ....attention.record.recorder import Snapshot
from ....attention.report import html
from ....attention.report.text import csv_of
from .facts import Facts
from .payload import build

log = logging.getLogger("wanattn")
SUFFIXES = (".json", ".csv", ".html")
MOST_LETTERS = 200  # of a name or an error in a sentence
DEFAULT_PREFIX = "wanattn/report"
TAPPED = ("WanAttnBackend", "WanAttnDiagnostics")


def written(calls: Snapshot | str, payload: dict, prefix: str) -> str:
    """Write the files; the sentence says where they are, or why there are none. `calls` may be a table already."""
    try:
        return f"written: {', '.join(map(brief, write(calls, payload, prefix)))}"
    except OSError as error:
        reason = f"{error.strerror or error} ({brief(prefix)})"
        return f"The report files could not be written: {reason}. Mend that, or choose another filename_prefix."
    except Exception as error:  # the host raises a bare one for a folder outside its output folder
        reason = brief(str(error).strip().partition("\n")[0])
        return f"The report files could not be written: {reason}. Choose another filename_prefix."


def brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_LETTERS else f"{line[:MOST_LETTERS]} ..."


def write(calls: Snapshot | str | None, payload: dict, prefix: str) -> list[str]:
    """Write `<prefix>_00001.json`, `.csv` and `.html` under the next free number; return their names.

    Without calls there are none to list, and no `.csv`.
    """
    prefix = prefix if prefix.strip(" ./\\") else DEFAULT_PREFIX
    output = folder_paths.get_output_directory()
    folder, name, *_ = folder_paths.get_save_image_path(prefix, output)
    stem = Path(folder, _free_stem(Path(folder), name))
    makers = {
        ".json": lambda: json.dumps(payload, indent=1),
        ".html": lambda: html.render(payload),
    }
    if calls is not None:
        makers[".csv"] = lambda: calls if isinstance(calls, str) else csv_of(calls)
    for suffix, make in makers.items():
        disk.write(Path(f"{stem}{suffix}"), make())
    place = Path(os.path.relpath(stem, output)).as_posix()
    return [f"{place}{suffix}" for suffix in SUFFIXES if suffix in makers]


def _free_stem(folder: Path, name: str) -> str:
    number = 1
    while any((folder / f"{name}_{number:05}{suffix}").exists() for suffix in SUFFIXES):
        number += 1
    return f"{name}_{number:05}"


def write_unfinished(
    facts: Facts, snapshot: Snapshot, job: str | None, reported: Collection[str | None]
) -> None:
    """The report of a job that ends early, for every Attention Run Report that waits for it; `reported` are done."""
    payload = build(facts, snapshot)
    for prefix in waiting_prefixes(facts.node, job, reported):
        log.info("node %s: %s", facts.node, written(snapshot, payload, prefix))


def waiting_prefixes(
    node: str | None, job: str | None, reported: Collection[str | None]
) -> list[str]:
    """Where the Attention Run Reports of a job will write that are not done and are of this node."""
    if getattr(PromptServer, "instance", None) is None:  # sampled without a server
        return []
    running, _ = PromptServer.instance.prompt_queue.get_current_queue()
    prompts = [item[2] for item in running if item[1] == job]
    prefixes = [
        report["inputs"].get("filename_prefix")
        for prompt in prompts
        for key, report in prompt.items()
        if report["class_type"] == "WanAttnReport"
        and key not in reported
        and _nearest_tap(prompt, report) == node
    ]
    return [prefix if isinstance(prefix, str) else DEFAULT_PREFIX for prefix in prefixes]


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
