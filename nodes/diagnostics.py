"""Attention Diagnostics: watch every attention call of one model."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..attention.evidence import PROOFS
from .tap import Tap

TIP = (
    "How much is proved by the profiler. off: nothing. sample: one call of each kind a run. "
    "every call: all of them, which makes the run slower; use it to chase a doubt, not to measure."
)


class WanAttnDiagnostics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnDiagnostics",
            display_name="Attention Diagnostics",
            category="model/attention",
            description=(
                "Records every attention call of this model: what was requested, what ran, how that is known, and why "
                "it differs. Works before or after Attention Backend, on an unpatched model and with other packs."
            ),
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model to watch. It computes the same numbers as before."
                ),
                io.Combo.Input(
                    "evidence",
                    options=list(PROOFS),
                    default="sample",
                    tooltip=TIP,
                    optional=True,  # workflows saved before it was there stay valid
                ),
            ],
            outputs=[io.Model.Output(tooltip="The same model, watched.")],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # else the host hands the output of an equal node, with its id, to this one
        )

    @classmethod
    def execute(cls, model, evidence: str = "sample") -> io.NodeOutput:
        return io.NodeOutput(watch(model, cls.hidden.unique_id, evidence))


def watch(model, node: str | None = None, proof: str = "sample"):
    """Return a clone of `model` whose attention calls are recorded and otherwise left alone."""
    clone = model.clone()
    Tap(node, proof=proof).install(clone)
    return clone
