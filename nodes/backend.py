"""Attention Backend: run every attention call of one model on the chosen kernel."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..attention.dispatch import Dispatcher
from ..attention.policy import ON_REFUSAL, WISHES, Policy
from .override import SLOT, Override
from .tap import Tap

BACKEND_TIP = (
    "auto: the first in this card's order that can run the call (cuDNN first on Hopper and data-centre Blackwell, "
    "FlashAttention elsewhere). flash, efficient, cudnn, math: torch's kernels. "
    "host: change nothing, only watch what ComfyUI runs."
)
REFUSAL_TIP = (
    "What to do when the chosen backend cannot run a call. next best: use the next one and say why on the node. "
    "stop: end the run with an error that lists every reason."
)


class WanAttnBackend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnBackend",
            display_name="Attention Backend",
            category="model/attention",
            description=(
                "Runs every attention call of this model on one backend of torch's scaled_dot_product_attention and "
                "says on the node what really ran. Only this model is patched; bypassing the node undoes it."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Any diffusion model; made for Wan 2.2. Use one node an expert.",
                ),
                io.Combo.Input(
                    "backend", options=list(WISHES), default="auto", tooltip=BACKEND_TIP
                ),
                io.Combo.Input(
                    "on_refusal", options=list(ON_REFUSAL), default="next best", tooltip=REFUSAL_TIP
                ),
            ],
            outputs=[
                io.Model.Output(
                    tooltip="The same model with its attention calls on the chosen backend."
                )
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # else the host hands the output of an equal node, with its id, to this one
        )

    @classmethod
    def execute(cls, model, backend: str, on_refusal: str) -> io.NodeOutput:
        return io.NodeOutput(patch(model, Policy(backend, on_refusal), cls.hidden.unique_id))


def patch(model, policy: Policy, node: str | None = None):
    """Return a clone of `model` whose attention calls run under `policy`."""
    clone = model.clone()
    options = clone.model_options.setdefault("transformer_options", {})
    tap = Tap(node)
    dispatcher = None if policy.backend == "host" else Dispatcher(policy)
    tap.override = Override(tap.recorder, options.get(SLOT), dispatcher)
    options[SLOT] = tap.override
    tap.install(clone)
    return clone
