"""The options of `wanattn bench workflow`, and its start."""

from __future__ import annotations

import argparse
import asyncio

from ....bench.benchmark import Benchmark, Progress
from ....bench.results.row import Results
from . import runs
from .plan import Plan

URL = "http://127.0.0.1:8188"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", default=URL, help=f"of the ComfyUI server; default {URL}")
    parser.add_argument(
        "--workflow",
        required=True,
        metavar="FILE",
        help="in the API format: Workflow > Export (API)",
    )
    parser.add_argument(
        "--backends",
        default="host,auto",
        metavar="A,B",
        help="settings of Attention Backend; default host,auto",
    )
    parser.add_argument("--frames", metavar="N,N", help="such as 25,49,81; default: the workflow's")
    parser.add_argument(
        "--size", metavar="WIDTHxHEIGHT", help="such as 832x1216; default: the workflow's"
    )
    parser.add_argument(
        "--any-model", action="store_true", help="measure a model that is not Wan, too"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="give up when the server says nothing of a run for so long; default 1800",
    )
    parser.epilog = (
        "Each clip runs every setting once, then --repeat rounds (default 2) that interleave. "
        "--settings is one label for all settings or one for each, with commas between. "
        "Without --seed the workflow keeps its seeds."
    )


def measure(options: argparse.Namespace, results: Results, progress: Progress) -> None:
    asyncio.run(runs.measure(Plan.of(options), results, progress))


BENCHMARK = Benchmark(
    "workflow",
    "Your own workflow on a running ComfyUI server, with each attention backend in turn.",
    add_arguments,
    measure,
)
