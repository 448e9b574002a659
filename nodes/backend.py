"""Attention Backend: run every attention call of one model on the chosen kernel."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..attention.choose.policy import ON_REFUSAL, PRECISIONS, Policy, wishes
from .found import ADVANCED, found_by
from .host.expected.outlook import Wired
from .host.patch import patch
from .possible import possible
from .rule import Rules, rules_of

BACKEND_TIP = (
    "auto: the fastest that can run the call, measured on its own tensors at the first call of a size and kept. "
    "flash, efficient, cudnn, math: torch's kernels. The others come in packages of their own (see the help page). "
    "sub_quad, split: ComfyUI's own slower functions. host: change nothing, only watch what ComfyUI runs."
)
REFUSAL_TIP = (
    "What to do when the chosen backend cannot run a call. next best: use the next one and say why on the node. "
    "stop: end the run with an error that lists every reason."
)
PRECISION_TIP = (
    "For auto. exact: only backends that compute attention as torch does. allow approximate: also 8-bit and 4-bit "
    "ones whose measured error on this model's tensors stays under max_error."
)
RULES_TIP = "From Attention Backend Rule: other backends for some roles, blocks or steps."
OTHER_PACKS = KEEP, TAKE_OVER = "keep their kernels", "take over"
OTHERS_TIP = (
    "What to do where another pack has put an attention function of its own into the model, such as a sparse one. "
    "keep their kernels: it runs, and the node says so. take over: the chosen backend runs those calls too."
)
ERROR_TIP = "For auto with 'allow approximate': the largest relative error of its output."


class WanAttnBackend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnBackend",
            display_name="Attention Backend",
            category="model/attention",
            **found_by(
                "wan attention",
                "wan",
                "sdpa",
                "flash",
                "flash attention",
                "cudnn",
                "sage",
                "sageattention",
                "xformers",
                "kernel",
                "speed",
                "faster",
                "backend",
                "fa3",
                "int8",
                "fp8",
            ),
            description=(
                "Runs every attention call of this model on the kernel that you choose, torch's own or a package's, and "
                "says on the node what really ran. Only this model is patched; bypassing the node undoes it."
            ),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Any diffusion model; made for Wan 2.2. Use one node an expert.",
                ),
                *choices(),
            ],
            outputs=[
                io.Model.Output(
                    tooltip="The same model with its attention calls on the chosen backend."
                )
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
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
        other_packs: str = KEEP,
        rules: object = None,
    ) -> io.NodeOutput:
        policy = Policy(backend, on_refusal, precision, max_error)
        over = other_packs == TAKE_OVER
        node = cls.hidden.unique_id
        wired = Wired.of(cls.hidden.prompt, node)
        return io.NodeOutput(
            patch(model, policy, node, rules_of(rules), takes_over=over, wired=wired)
        )


def choices() -> list[io.Input]:
    """What is asked beside the model."""
    return [
        *kernels(),
        io.Combo.Input(
            "other_packs",
            options=list(OTHER_PACKS),
            default=KEEP,
            tooltip=OTHERS_TIP,
            extra_dict=ADVANCED,
            optional=True,
        ),
        Rules.Input("rules", optional=True, tooltip=RULES_TIP),
    ]


def kernels(also: str = "") -> list[io.Input]:
    """Which kernel, and what counts in the choice; `also` is what else to know of it."""
    return [
        io.Combo.Input(
            "backend",
            options=list(wishes()),
            default="auto",
            tooltip=f"{BACKEND_TIP} {also}".strip(),
            extra_dict={"wanattn": possible()},
        ),
        io.Combo.Input(
            "on_refusal", options=list(ON_REFUSAL), default="next best", tooltip=REFUSAL_TIP
        ),
        io.Combo.Input(
            "precision",
            options=list(PRECISIONS),
            default="exact",
            tooltip=PRECISION_TIP,
            extra_dict=ADVANCED,
            optional=True,  # workflows saved before it was there stay valid
        ),
        io.Float.Input(
            "max_error",
            default=0.03,
            min=0.001,
            max=0.5,
            step=0.001,
            tooltip=ERROR_TIP,
            extra_dict=ADVANCED,
            optional=True,
        ),
    ]
