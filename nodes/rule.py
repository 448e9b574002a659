"""Attention Backend Rule: narrow a backend to a role, to blocks, to steps."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..attention.choose.policy import wishes
from ..attention.choose.rules import RULE_ROLES, Rule, few, parse_ranges
from .found import found_by

Rules = io.Custom("WANATTN_RULES")  # a tuple of Rule, the first asked last

ROLE_TIP = (
    "Which calls: self (a clip's tokens among themselves), text, image (only Wan 2.1 I2V and Animate have such calls), "
    "other, or any of them."
)
BLOCKS_TIP = "Blocks of the model, from 0: 0-3,39 or 36- for all from 36 on. Empty for all."
STEPS_TIP = (
    "Steps of the sampler that uses the model, from 0: 0-1,18- by number, or 0%-10%,90%- as a share of its steps. "
    "Empty for all."
)


class WanAttnRule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnRule",
            display_name="Attention Backend Rule",
            category="model/attention",
            **found_by("wan attention rule", "block", "step", "role", "per layer", "per step"),
            description=(
                "Runs the attention calls of a role, of some blocks or of some steps on a backend of their own. "
                "Chain several, the later ones win, and connect the last one to Attention Backend."
            ),
            inputs=[
                Rules.Input(
                    "rules", optional=True, tooltip="Rules that this one comes after and overrules."
                ),
                io.Combo.Input("role", options=list(RULE_ROLES), default="any", tooltip=ROLE_TIP),
                io.String.Input("blocks", default="", placeholder="0-3,39", tooltip=BLOCKS_TIP),
                io.String.Input(
                    "steps", default="", placeholder="0-1,18- or 0%-10%", tooltip=STEPS_TIP
                ),
                io.Combo.Input(
                    "backend",
                    options=list(wishes()),
                    default="auto",
                    tooltip="As in Attention Backend, whose other settings hold for rules too.",
                ),
            ],
            outputs=[Rules.Output("rules", tooltip="For Attention Backend or the next rule.")],
        )

    @classmethod
    def validate_inputs(cls, blocks: str | None = None, steps: str | None = None) -> bool | str:
        """What is typed in is refused before anything runs; what is linked is not known yet."""
        wrong = []
        for what, text, percent in (("blocks", blocks, False), ("steps", steps, True)):
            try:
                parse_ranges(text or "", percent=percent)
            except ValueError as error:
                wrong.append(f"{what}: {error}")
        return "\n".join(wrong) or True  # the page gives each field its own line

    @classmethod
    def execute(
        cls, role: str, blocks: str, steps: str, backend: str, rules: object = None
    ) -> io.NodeOutput:
        return io.NodeOutput((*rules_of(rules), Rule.parse(role, blocks, steps, backend)))


def rules_of(given: object) -> tuple[Rule, ...]:
    """What came in at a `rules` input, by a link or by a program. ValueError for anything but rules."""
    rules = given or ()
    if not isinstance(rules, tuple | list) or not all(isinstance(rule, Rule) for rule in rules):
        raise ValueError(
            f"rules is {type(given).__name__}, needs the output of Attention Backend Rule"
        )
    few(rules)
    return tuple(rules)
