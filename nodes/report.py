"""Attention Run Report: a finished run as text, JSON and CSV, and as a line in the video's metadata."""

from __future__ import annotations

import logging

from comfy_api.v0_0_2 import io, ui
from comfy_execution.utils import get_executing_context

from ..attention.report.bounds import bounded
from ..attention.report.picture import draw, write_out
from ..attention.report.text import text_of
from .found import found_by
from .host.override import KEY
from .host.report.files import DEFAULT_PREFIX, written
from .host.report.payload import build, provenance
from .host.tap import Tap, taps
from .wrapper.installed import any_model

log = logging.getLogger("wanattn")
NO_TAP = (
    "Nothing to report: this model has passed neither Attention Backend nor Attention Diagnostics. "
    "Wire one of them between the loader and the sampler and connect its output here too."
)
REUSED = "the sampler's result came from ComfyUI's cache: this tells of the last run that was sampled, which may be another"


class WanAttnReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        anything = io.MatchType.Template("after")
        return io.Schema(
            node_id="WanAttnReport",
            display_name="Attention Run Report",
            category="model/attention",
            **found_by("wan attention report", "metadata", "csv", "json", "html", "provenance"),
            description=(
                "Shows what attention really ran in the finished run, writes it as JSON and CSV to the output folder, "
                "and puts a summary into the metadata of whatever is saved after it."
            ),
            is_output_node=True,
            inputs=[
                any_model(
                    io.Model.Input(
                        "model",
                        tooltip="The model that was sampled, from Attention Backend or Diagnostics.",
                    )
                ),
                io.MatchType.Input(
                    "after",
                    template=anything,
                    tooltip="Anything that comes out of the sampler or later, so that the run is over. Passed through.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default=DEFAULT_PREFIX,
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
                io.Image.Output(
                    id="picture",
                    display_name="picture",
                    tooltip="Grid and table as a picture; needs the package matplotlib.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, model, after, filename_prefix: str) -> io.NodeOutput:
        metadata = cls.hidden.extra_pnginfo
        text, payload = finish(model, filename_prefix, cls.hidden.unique_id, metadata)
        image = picture(payload, text)
        shown = {"text": (text,), "wanattn": [bounded(payload)] if payload else []}
        return io.NodeOutput(after, text, image, ui={**shown, "wanattn_picture": kept(image)})


def finish(model, prefix: str, node: str | None, metadata: dict | None) -> tuple[str, dict | None]:
    """Write the report of a model's last job. Whatever goes wrong is a sentence in it, never a lost video."""
    try:
        tap = chosen_tap(model)
        if tap is None:
            return NO_TAP, None
        snapshot = tap.recorder.snapshot()
        payload = build(tap.facts([*_reused(tap), *tap.all_notes()], snapshot), snapshot)
        tap.reported.add(node)
        if isinstance(metadata, dict):  # a client may send anything
            before = metadata.get(KEY)
            mine = {node or tap.node or "": provenance(bounded(payload))}
            metadata[KEY] = {**(before if isinstance(before, dict) else {}), **mine}
        sentence = written(snapshot, payload, prefix)
        tap.remains.drop()
        return f"{text_of(payload)}\n{sentence}", payload
    except Exception as error:
        log.exception("the attention report failed")
        sentence = f"The attention report failed ({type(error).__name__}: {error})"
        return f"{sentence}; the run itself is not affected.", None


def _reused(tap: Tap) -> list[str]:
    context = get_executing_context()
    sampled_now = context is None or tap.recorder.job in (None, context.prompt_id)
    return [] if sampled_now or not tap.recorder.runs else [REUSED]


def picture(payload: dict | None, text: str):
    """An image of [1, height, width, 3] with values from 0 to 1."""
    try:
        return draw(payload) if payload else write_out(text)
    except ImportError as error:
        return write_out(
            f"The picture needs matplotlib ({error}).\nInstall it with: pip install matplotlib"
        )
    except Exception as error:  # the video comes first
        log.exception("the picture failed")
        return write_out(f"The picture failed ({type(error).__name__}). The text has the report.")


def kept(image) -> list[dict]:
    """Where the page finds the picture, under a name of its own: the host would make the node taller to show it."""
    try:
        return [dict(place) for place in ui.PreviewImage(image).as_dict()["images"]]
    except Exception:  # the video comes first
        log.exception("the picture of the report was not kept for the page")
        return []


def chosen_tap(model) -> Tap | None:
    """The most downstream tap that has recorded something, else the most downstream one."""
    found = taps(model)
    recorded = [tap for tap in found if tap.recorder.runs]
    return (recorded or found or (None,))[-1]
