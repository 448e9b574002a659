"""Attention Backend and Attention Diagnostics for the models of WanVideoWrapper."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ...attention.choose.policy import Policy
from .. import backend, diagnostics
from ..found import found_by
from ..rule import rules_of
from .installed import Model
from .patch import patch, watch

OVER = backend.OTHER_PACKS[1]
WORDS = ("wan attention", "wanvideowrapper", "kijai", "sdpa", "sage", "flash", "attention mode")


class WanAttnWrapperBackend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnWrapperBackend",
            display_name="Attention Backend (WanVideoWrapper)",
            category="model/attention",
            **found_by(*WORDS, "backend", "kernel"),
            description=(
                "Runs every attention call of this WanVideoWrapper model on the kernel that you choose, whatever its "
                "attention_mode is, and says on the node what really ran. Bypassing the node undoes it."
            ),
            inputs=[
                Model.Input("model", tooltip="From WanVideo Model Loader. Use one node an expert."),
                *backend.choices(),
            ],
            outputs=[
                Model.Output(
                    "model",
                    tooltip="The same model with its attention calls on the chosen backend.",
                )
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # else the host hands the output of an equal node, with its id, to this one
        )

    @classmethod
    def execute(
        cls,
        model,
        backend: str,
        on_refusal: str,
        precision: str = "exact",
        max_error: float = 0.03,
        other_packs: str = backend.OTHER_PACKS[0],
        rules: object = None,
    ) -> io.NodeOutput:
        policy = Policy(backend, on_refusal, precision, max_error)
        over = other_packs == OVER
        node = cls.hidden.unique_id
        return io.NodeOutput(patch(model, policy, node, rules_of(rules), takes_over=over))


class WanAttnWrapperDiagnostics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnWrapperDiagnostics",
            display_name="Attention Diagnostics (WanVideoWrapper)",
            category="model/attention",
            **found_by(*WORDS, "profiler", "monitor", "timing"),
            description=(
                "Records every attention call of this WanVideoWrapper model: the mode that was asked for, what ran, and "
                "how that is known. It computes the same numbers as before."
            ),
            inputs=[
                Model.Input("model", tooltip="The WanVideoWrapper model to watch."),
                *diagnostics.choices(),
            ],
            outputs=[Model.Output("model", tooltip="The same model, watched.")],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # else the host hands the output of an equal node, with its id, to this one
        )

    @classmethod
    def validate_inputs(cls, capture: str | None = None) -> bool | str:
        return diagnostics.WanAttnDiagnostics.validate_inputs(capture)

    @classmethod
    def execute(
        cls,
        model,
        evidence: str = "sample",
        capture: str = "",
        capture_limit_gib: float = diagnostics.DEFAULT_LIMIT,
    ) -> io.NodeOutput:
        node = cls.hidden.unique_id
        keeper = diagnostics.keeper_of(model, capture, capture_limit_gib, node)
        return io.NodeOutput(watch(model, node, evidence, keeper))
