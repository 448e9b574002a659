"""Attention Report (Raylight): a finished run of several GPUs, by rank."""

from __future__ import annotations

import logging

from comfy_api.v0_0_2 import io

from ...attention.report.ranks import Part, csv_of_ranks, merged
from ...attention.report.text import text_of
from ..found import found_by
from ..host.override import KEY
from ..host.report.files import DEFAULT_PREFIX, written
from ..host.report.payload import provenance
from ..report import kept, picture
from .actors import Session, session_of
from .backend import Actors

log = logging.getLogger("wanattn")
NOT_WATCHED = (
    "Nothing to report: these actors have not passed Attention Backend (Raylight). Wire it between Raylight's loader "
    "and its sampler; set it to host to change nothing and only watch."
)
NOT_SAMPLED = (
    "Nothing to report: no sampler has used these actors in this run. Connect the sampler's ray_actors output "
    "here, so that the report comes after it."
)


class WanAttnRayReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnRayReport",
            display_name="Attention Report (Raylight)",
            category="model/attention",
            **found_by("wan attention report", "raylight", "ray", "ranks", "multi gpu"),
            description=(
                "Shows what attention really ran on each GPU in the finished run, names the slowest rank, writes it all "
                "as JSON, CSV and HTML to the output folder, and puts a summary into the metadata of what is saved."
            ),
            is_output_node=True,
            inputs=[
                Actors.Input(
                    "ray_actors",
                    tooltip="From Raylight's sampler, whose actors have passed Attention Backend (Raylight).",
                ),
                io.String.Input(
                    "filename_prefix",
                    default=DEFAULT_PREFIX,
                    tooltip="Where in the output folder the files go.",
                ),
            ],
            outputs=[
                Actors.Output(
                    "ray_actors_out", display_name="ray_actors", tooltip="ray_actors, unchanged."
                ),
                io.String.Output(id="report", display_name="report", tooltip="The report as text."),
                io.Image.Output(
                    id="picture",
                    display_name="picture",
                    tooltip="Grid and table as a picture; needs the package matplotlib.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            not_idempotent=True,
        )

    @classmethod
    def execute(cls, ray_actors: dict, filename_prefix: str) -> io.NodeOutput:
        node, metadata = cls.hidden.unique_id, cls.hidden.extra_pnginfo
        text, payload = finish(session_of(ray_actors), filename_prefix, node, metadata)
        image = picture(payload, text)
        shown = {"text": (text,), "wanattn": [payload] if payload else []}
        output = {**shown, "wanattn_picture": kept(image)}
        return io.NodeOutput(ray_actors, text, image, ui=output)


def finish(
    session: Session | None, prefix: str, node: str | None, metadata: dict | None
) -> tuple[str, dict | None]:
    """Whatever goes wrong is a sentence in it, never a lost video."""
    if session is None or not session.taken:
        return NOT_WATCHED if session is None else NOT_SAMPLED, None
    try:
        payload, table = gathered(session, node)
        if isinstance(metadata, dict):  # a client may send anything
            before = metadata.get(KEY)
            mine = {node or "": provenance(payload)}
            metadata[KEY] = {**(before if isinstance(before, dict) else {}), **mine}
        return f"{text_of(payload)}\n{written(table, payload, prefix)}", payload
    except Exception as error:
        log.exception("the attention report failed")
        sentence = f"The attention report failed ({type(error).__name__}: {error})"
        return f"{sentence}; the run itself is not affected.", None


def gathered(session: Session, node: str | None) -> tuple[dict, str]:
    """The payload of all ranks, and their calls as CSV."""
    parts, tables, lost = [], [], []
    for call, reports in enumerate(session.reports(), 1):
        for rank, report in sorted(reports.items()):
            if isinstance(report, str):
                lost.append(f"rank {rank} gave no report of sampler call {call}: {report}")
                continue
            parts.append(Part(call, rank, report["facts"], report["payload"]))
            tables.append((call, rank, report["csv"]))
    return merged(parts, node, lost), csv_of_ranks(tables)
