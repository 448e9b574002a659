"""Attention Report: a finished run as text, JSON and CSV, and as a line in the video's metadata."""

from __future__ import annotations

import logging

from comfy_api.v0_0_2 import io, ui

from ..attention import report
from .files import written
from .override import KEY
from .payload import build, provenance
from .tap import Tap, taps

log = logging.getLogger("wanattn")
NO_TAP = (
    "Nothing to report: this model has passed neither Attention Backend nor Attention Diagnostics. "
    "Wire one of them between the loader and the sampler and connect its output here too."
)


class WanAttnReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        anything = io.MatchType.Template("after")
        return io.Schema(
            node_id="WanAttnReport",
            display_name="Attention Report",
            category="model/attention",
            description=(
                "Shows what attention really ran in the finished run, writes it as JSON and CSV to the output folder, "
                "and puts a summary into the metadata of whatever is saved after it."
            ),
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model that was sampled, from Attention Backend or Diagnostics.",
                ),
                io.MatchType.Input(
                    "after",
                    template=anything,
                    tooltip="Anything that comes out of the sampler or later, so that the run is over. Passed through.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="wanattn/report",
                    tooltip="Where in the output folder the JSON and CSV files go.",
                ),
            ],
            outputs=[
                io.MatchType.Output(
                    template=anything,
                    id="after_out",
                    display_name="after",
                    tooltip="after, unchanged.",
                ),
                io.String.Output(id="report", display_name="report", tooltip="The report as text."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, model, after, filename_prefix: str) -> io.NodeOutput:
        text = finish(model, filename_prefix, cls.hidden.unique_id, cls.hidden.extra_pnginfo)
        return io.NodeOutput(after, text, ui=ui.PreviewText(text))


def finish(model, prefix: str, node: str | None, metadata: dict | None) -> str:
    """Write the report of a model's last job. Whatever goes wrong is a sentence in it, never a lost video."""
    tap = chosen_tap(model)
    if tap is None:
        return NO_TAP
    try:
        snapshot = tap.recorder.snapshot()
        payload = build(tap, model, snapshot)
        if metadata is not None:
            metadata.setdefault(KEY, {})[node or tap.node or ""] = provenance(payload)
        return f"{report.text(payload)}\n{written(snapshot, payload, prefix)}"
    except Exception as error:
        log.exception("the attention report failed")
        return f"The attention report failed ({type(error).__name__}: {error}); the run itself is not affected."


def chosen_tap(model) -> Tap | None:
    """The most downstream tap that has recorded something, else the most downstream one."""
    found = taps(model)
    recorded = [tap for tap in found if tap.recorder.runs]
    return (recorded or found or (None,))[-1]
