"""Attention Diagnostics: watch every attention call of one model."""

from __future__ import annotations

import math

from comfy_api.v0_0_2 import io

from ..attention.record.evidence import PROOFS
from .found import ADVANCED, found_by
from .host.capture import GIB, Capture, ranges_of
from .host.expected.outlook import Wired
from .host.patch import block_count, watch

TIP = (
    "How much is proved by the profiler. off: nothing. sample: one call of each kind a run. "
    "every call: all of them, which makes the run slower; use it to chase a doubt, not to measure."
)
CAPTURE_TIP = (
    "Block ranges such as 0-9,10-29,30-39 or 0,20,39: q, k, v and the mask of the first call of every role in each range "
    "are kept as files in the output folder, anew for every queued run. Empty for none."
)
DEFAULT_LIMIT = 4.0
LIMIT_TIP = "The most that capture writes for one queued run, in GiB; what does not fit is left out and named."


class WanAttnDiagnostics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnDiagnostics",
            display_name="Attention Diagnostics",
            category="model/attention",
            **found_by(
                "wan attention diagnostics",
                "profiler",
                "kernel",
                "monitor",
                "which attention",
                "timing",
                "speed",
            ),
            description=(
                "Records every attention call of this model: what was requested, what ran, how that is known, and why "
                "it differs. Works before or after Attention Backend, on an unpatched model and with other packs."
            ),
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model to watch. It computes the same numbers as before."
                ),
                *choices(),
            ],
            outputs=[io.Model.Output(tooltip="The same model, watched.")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
            not_idempotent=True,  # else the host hands the output of an equal node, with its id, to this one
        )

    @classmethod
    def validate_inputs(cls, capture: str | None = None) -> bool | str:
        """What is typed in is refused before anything runs; what is linked is not known yet."""
        try:
            ranges_of(capture or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model,
        evidence: str = "sample",
        capture: str = "",
        capture_limit_gib: float = DEFAULT_LIMIT,
    ) -> io.NodeOutput:
        node = cls.hidden.unique_id
        keeper = keeper_of(model, capture, capture_limit_gib, node)
        wired = Wired.of(cls.hidden.prompt, node)
        return io.NodeOutput(watch(model, node, evidence, keeper, wired))


def choices() -> list[io.Input]:
    """What is asked beside the model."""
    return [
        io.Combo.Input(
            "evidence",
            options=list(PROOFS),
            default="sample",
            tooltip=TIP,
            optional=True,  # workflows saved before it was there stay valid
        ),
        io.String.Input(
            "capture",
            default="",
            placeholder="0-9,39",
            tooltip=CAPTURE_TIP,
            optional=True,
            extra_dict=ADVANCED,
        ),
        io.Float.Input(
            "capture_limit_gib",
            default=DEFAULT_LIMIT,
            min=0.1,
            max=1000.0,
            step=0.1,
            tooltip=LIMIT_TIP,
            extra_dict=ADVANCED,
            optional=True,
        ),
    ]


def keeper_of(model, capture: str, limit: float, node: str | None) -> Capture | None:
    spans = ranges_of(capture, block_count(model))
    if not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"capture_limit_gib {limit}, needs more than 0")
    return Capture(spans, int(limit * GIB), node) if spans else None
