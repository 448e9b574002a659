"""Attention Schedule: exact first and last steps, approximate between."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..attention.choose.policy import wishes
from ..attention.choose.rules import RULE_ROLES
from ..attention.choose.schedule import schedule
from .found import ADVANCED, found_by
from .possible import possible
from .rule import Rules, rules_of

EXACT_TIP = "Backend of the first and last steps, where an error shows most. auto takes the fastest exact one."
APPROXIMATE_TIP = (
    "Backend of the steps between: an 8-bit or 4-bit one such as sage or int8. Where it cannot run, Attention Backend's "
    "on_refusal decides, and the node says why."
)
FIRST_TIP = (
    "Share of this sampler's first steps that stay exact, in percent: 10 % of 20 steps is 2 steps. A step of which a part "
    "is covered is exact. Wan 2.2 14B: the high-noise expert has the first steps of the video, the low-noise one the last."
)
LAST_TIP = (
    "The same for the last steps. 0 for none; both together 100 or more make every step exact."
)


class WanAttnSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnSchedule",
            display_name="Attention Schedule",
            category="model/attention",
            **found_by(
                "wan attention schedule", "sage", "first and last steps", "exact", "quality"
            ),
            description=(
                "Keeps the first and last steps on an exact backend and runs those between on a faster, approximate one. "
                "Connect it to Attention Backend of one expert or of both; rules behind it overrule it."
            ),
            inputs=[
                Rules.Input(
                    "rules", optional=True, tooltip="Rules that this one comes after and overrules."
                ),
                io.Float.Input(
                    "first", default=20.0, min=0.0, max=100.0, step=1.0, tooltip=FIRST_TIP
                ),
                io.Float.Input(
                    "last", default=10.0, min=0.0, max=100.0, step=1.0, tooltip=LAST_TIP
                ),
                io.Combo.Input(
                    "approximate",
                    options=list(wishes()),
                    default="sage",
                    tooltip=APPROXIMATE_TIP,
                    extra_dict={"wanattn": possible()},
                ),
                io.Combo.Input("exact", options=list(wishes()), default="auto", tooltip=EXACT_TIP),
                io.Combo.Input(
                    "role",
                    options=list(RULE_ROLES),
                    default="self",
                    tooltip="Which calls: those among the video's own tokens take nearly all of the time.",
                    optional=True,
                    extra_dict=ADVANCED,
                ),
            ],
            outputs=[
                Rules.Output("rules", tooltip="For Attention Backend or Attention Backend Rule.")
            ],
        )

    @classmethod
    def execute(
        cls,
        first: float,
        last: float,
        approximate: str,
        exact: str,
        role: str = "self",
        rules: object = None,
    ) -> io.NodeOutput:
        return io.NodeOutput((*rules_of(rules), *schedule(role, exact, approximate, first, last)))
