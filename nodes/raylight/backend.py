"""Attention Backend (Raylight): the chosen kernel for a model that Raylight runs on several GPUs."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ...attention.choose.policy import Policy
from .. import backend
from ..found import found_by
from ..rule import Rules, rules_of
from .actors import Settings, with_settings

Actors = io.Custom("RAY_ACTORS")
RING_TIP = (
    "With ring attention only flash, efficient and cudnn can run: the others give no log-sum-exp."
)


class WanAttnRayBackend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnRayBackend",
            display_name="Attention Backend (Raylight)",
            category="model/attention",
            **found_by("wan attention", "raylight", "ray", "xdit", "xfuser", "multi gpu", "usp"),
            description=(
                "Runs every attention call of the model that these Ray actors hold on the kernel that you choose, on "
                "each GPU. The settings go with this wire: bypassing the node undoes them, and so does the end of "
                "each sampler run."
            ),
            inputs=[
                Actors.Input(
                    "ray_actors",
                    tooltip="From Raylight's model loader, or from one of its nodes that patch the model.",
                ),
                *backend.kernels(RING_TIP),
                Rules.Input("rules", optional=True, tooltip=backend.RULES_TIP),
            ],
            outputs=[
                Actors.Output(
                    "ray_actors", tooltip="For Raylight's sampler, or for one of its nodes."
                )
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # each node has sampler calls of its own
        )

    @classmethod
    def execute(
        cls,
        ray_actors: dict,
        backend: str,
        on_refusal: str,
        precision: str = "exact",
        max_error: float = 0.03,
        rules: object = None,
    ) -> io.NodeOutput:
        settings = Settings(Policy(backend, on_refusal, precision, max_error), rules_of(rules))
        return io.NodeOutput(with_settings(ray_actors, cls.hidden.unique_id, settings))
