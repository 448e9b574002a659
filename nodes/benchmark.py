"""Attention Benchmark: every attention kernel timed and checked at one model's own shapes."""

from __future__ import annotations

import logging
from typing import Any

import comfy.model_management
import comfy.utils
from comfy.model_management import InterruptProcessingException
from comfy_api.v0_0_2 import io

from ..attention.report.picture import write_out
from ..bench.results import chart, table
from ..bench.results.payload import Kept, payload
from ..bench.results.row import Results
from .found import found_by
from .host.measuring import BASELINE, Wish, environment_of, measure
from .host.report.display import Display
from .wrapper.installed import any_model

EVENT = "wanattn.bench"
PARTS = 1000  # of the progress bar
MOST_LETTERS = 1000  # of a sentence, which may quote what was typed in
FRAMES_TIP = "Lengths of the video, each 4n+1: 81, or 25,49,81 to see how it grows. A number can be wired to it."
BACKENDS_TIP = (
    "Names as in Attention Backend, separated by commas; host is what ComfyUI itself would run. "
    "Empty: host and every kernel of this machine."
)
REPEAT_TIP = (
    "Times that each backend is measured, in turns. More make the figures surer and take longer."
)
AGAIN_TIP = "ComfyUI does not run an unchanged node again: change this to measure anew. It seeds the random test tensors."
NO_CHART = "The chart needs matplotlib: pip install matplotlib"
log = logging.getLogger("wanattn")


class WanAttnBenchmark(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanAttnBenchmark",
            display_name="Attention Benchmark",
            category="model/attention",
            **found_by("wan attention benchmark", "kernel", "bench", "compare", "timing", "speed"),
            description=(
                "Times every attention kernel of this machine on calls of this very model's shape, checks what they "
                "compute, and says which to use. Runs by itself, samples nothing and changes nothing in the model."
            ),
            is_output_node=True,
            inputs=[
                any_model(
                    io.Model.Input(
                        "model", tooltip="A Wan model: its heads, dtype and device are used."
                    )
                ),
                io.Int.Input(
                    "width",
                    default=832,
                    min=16,
                    max=8192,
                    step=16,
                    tooltip="Of the video, in pixels.",
                ),
                io.Int.Input(
                    "height",
                    default=480,
                    min=16,
                    max=8192,
                    step=16,
                    tooltip="Of the video, in pixels.",
                ),
                io.MultiType.Input(
                    io.String.Input("frames", default="81", tooltip=FRAMES_TIP), types=[io.Int]
                ),
                io.String.Input(
                    "backends", default="", placeholder="flash,cudnn,sage", tooltip=BACKENDS_TIP
                ),
                io.Int.Input("repeat", default=5, min=2, max=50, tooltip=REPEAT_TIP),
                io.Int.Input(  # named so, since the page would change a "seed" after each run
                    "measure_again", default=0, min=0, max=2**31 - 1, tooltip=AGAIN_TIP
                ),
            ],
            outputs=[
                io.String.Output(
                    id="report",
                    display_name="report",
                    tooltip="The answer and the tables, as Markdown.",
                ),
                io.Image.Output(
                    id="chart",
                    display_name="chart",
                    tooltip="The bars; needs the package matplotlib.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # else the host hands the output of an equal node, with its id, to this one
        )

    @classmethod
    def validate_inputs(
        cls,
        width: int | None = None,
        height: int | None = None,
        frames: str | int | None = None,
        backends: str | None = None,
    ) -> bool | str:
        """What is typed in is refused before anything runs; what is linked is not known yet."""
        lengths = None if frames is None else str(frames)
        given = {"width": width, "height": height, "frames": lengths, "backends": backends}
        wrong = [error for name, value in given.items() if (error := fault(name, value))]
        return (
            "\n".join(wrong) or True
        )  # each begins with its input, so that the page can tell whose it is

    @classmethod
    def execute(
        cls,
        model,
        width: int,
        height: int,
        frames: str | int,
        backends: str,
        repeat: int,
        measure_again: int,
    ) -> io.NodeOutput:
        inputs = (width, height, str(frames), backends, repeat, measure_again)
        text, picture, shown = run(model, inputs, cls.hidden.unique_id)
        return io.NodeOutput(text, picture, ui={"text": (text,), "wanattn": [shown]})


def fault(name: str, value: Any) -> str:
    """What is wrong with one input, whatever the others are; empty for none."""
    try:
        Wish(**({} if value is None else {name: value}))
    except ValueError as error:
        return str(error)
    return ""


def run(model, inputs: tuple, node: str | None = None):
    """Text, image and payload. What goes wrong is a sentence in them, never a lost video; an interrupt goes through."""
    panel = Panel(node, Results("kernels", {}, BASELINE))
    try:
        panel.results.environment = environment_of(model)
        panel.kept = measure(model, Wish(*inputs), panel.results, panel)
        panel.state, panel.results.finished = "finished", True
    except InterruptProcessingException:
        panel.state = "interrupted"
        raise
    except Exception as error:
        panel.state = "failed"
        panel.results.notes.append(sentence(error))
    finally:
        panel.show()
    try:
        return panel.text(), picture(panel), panel.payload()
    except Exception as error:  # the video comes first
        words = sentence(error)
        failed = payload(Results("kernels", {}, notes=[words]), "failed", node, text=words)
        return words, write_out(words), failed


def sentence(error: Exception) -> str:
    words = str(error).strip().partition("\n")[0]
    if words and isinstance(error, ValueError | RuntimeError | OSError):
        log.warning("the attention benchmark ended: %s", ascii(words[:MOST_LETTERS]))
    else:
        log.error("the attention benchmark failed", exc_info=error)
        words = f"The benchmark failed ({type(error).__name__}: {words}); the log has more."
    return words if len(words) <= MOST_LETTERS else f"{words[:MOST_LETTERS]} ..."


class Panel:
    """Shows on the node how far the benchmark is; a Progress that ends with the host's interrupt."""

    def __init__(self, node: str | None, results: Results) -> None:
        self.results = results
        self.state = "running"
        self.kept: Kept = ()
        self._node = node
        self._display = Display(node, EVENT, lambda: (self.payload(), ""))
        self._bar = comfy.utils.ProgressBar(PARTS)
        self._total: float
        self._done: float
        self._doing = ""

    @property
    def running(self) -> bool:
        return self.state == "running"

    def begin(self, total: float) -> None:
        self._total, self._done = max(total, 1e-9), 0.0
        self._step()

    def advance(self, units: float, what: str) -> None:
        self._done += units
        self._doing = what
        self._step()

    def _step(self) -> None:
        self._bar.update_absolute(min(PARTS, round(PARTS * self._done / self._total)))
        self._display.tick()
        comfy.model_management.throw_exception_if_processing_interrupted()

    def text(self) -> str:
        if any(row.times or row.reason for row in self.results.rows):
            return table.text(self.results)
        return "\n".join(self.results.notes)

    def payload(self) -> dict:
        words = self._doing if self.running else self._answer()
        return payload(self.results, self.state, self._node, self.kept, words, self.text())

    def _answer(self) -> str:
        timed = any(row.times for row in self.results.rows)
        return table.answer(self.results) if timed else ""

    def show(self) -> None:
        self._display.show()


def picture(panel: Panel):
    """An image of [1, height, width, 3] with values from 0 to 1."""
    if not any(row.times for row in panel.results.rows):
        return write_out(panel.text())
    try:
        return chart.image(panel.results)
    except ImportError:
        return write_out(f"{panel.text()}\n\n{NO_CHART}")
    except Exception as error:
        log.exception("the chart failed")
        return write_out(f"{panel.text()}\n\nThe chart failed ({type(error).__name__}).")
