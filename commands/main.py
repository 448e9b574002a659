"""The command line: wanattn doctor, demo, bench and compare."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ..attention.backends import KERNELS
from ..attention.choose.policy import wishes
from ..attention.report.text import text_of
from ..attention.wan import Video
from . import compare, demo, diagnosis, doctor
from .console import INTERRUPTED, STOPPED, say, without_profiler_lines
from .frames import frames

EXAMPLES = """examples:
  wanattn doctor                 what to use on this machine, and what is missing
  wanattn demo                   a tiny Wan 2.2 transformer on every backend
  wanattn bench                  time every backend at Wan's own sizes
  wanattn bench --output a.csv   the same, kept in a file
  wanattn compare a.mp4 b.mp4    how far two results are apart: PSNR and SSIM
"""
EXIT_CODES = (
    "Exit codes: 0 all is well, 1 the check failed, "
    "2 the arguments are wrong or something needed is missing, 130 stopped by Ctrl-C."
)
LARGEST_ERROR = {
    "cpu": 1e-4,
    "cuda": 3e-2,
    "mps": 1e-3,
}  # of a whole denoising, against the unpatched model


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["bench"]:
            return _bench(given[1:])
        options = _parser().parse_args(given)
        return options.command(options)
    except KeyboardInterrupt:
        say(f"wanattn: {STOPPED}", sys.stderr)
        return INTERRUPTED
    except (ValueError, RuntimeError, OSError) as error:
        say(f"wanattn: {error}", sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """Its help begins with what people copy."""

    def format_help(self) -> str:
        return f"{EXAMPLES}\n{super().format_help()}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="wanattn", epilog=EXIT_CODES)
    commands = parser.add_subparsers(
        required=True, metavar="command", parser_class=argparse.ArgumentParser
    )
    _add_doctor(
        commands.add_parser(
            "doctor", help="what attention this machine can run, and why not the rest"
        )
    )
    _add_demo(commands.add_parser("demo", help="run a tiny Wan 2.2 transformer on every backend"))
    commands.add_parser("bench", help="what to use on this machine, and what it gains")
    _add_compare(
        commands.add_parser("compare", help="PSNR and SSIM between two pictures, videos or folders")
    )
    return parser


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="such as cpu or cuda:0; default: the GPU if there is one")
    parser.add_argument("--comfyui", type=Path, help="the ComfyUI folder, if it is not found")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_doctor)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend", action="append", choices=wishes(), help="may be repeated; default: torch's own"
    )
    parser.add_argument("--device", help="such as cpu or cuda:0; default: the GPU if there is one")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--frames", type=int, default=9, help="4n+1")
    parser.add_argument("--size", default="128x128", help="WIDTHxHEIGHT in pixels, multiples of 16")
    parser.add_argument(
        "--out", type=Path, default=Path("wanattn-demo"), help="folder for demo.json and demo.csv"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=_demo)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, help="a picture, a video, or a folder of pictures")
    parser.add_argument(
        "second", type=Path, nargs="?", help="left out, the first holds both, side by side"
    )
    parser.add_argument(
        "--gap",
        type=int,
        default=8,
        help="pixels between two in one; default 8, as the template has",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_compare)


def _bench(arguments: list[str]) -> int:
    """It has a command line of its own, so that only the benchmark that is asked for is loaded."""
    from .bench import main as bench

    return bench.main(arguments)


def _compare(options: argparse.Namespace) -> int:
    paths = [path for path in (options.first, options.second) if path]
    if len(paths) == 2:
        pairs = compare.paired(*map(frames, paths))
    else:
        pairs = compare.halves(frames(options.first), options.gap)
    found = list(tqdm(compare.distances(pairs), desc="comparing", unit="frame"))
    if not found:
        raise ValueError(f"'{options.first}' holds no frame, needs at least one")
    say(json.dumps(compare.plain(found), indent=1) if options.json else compare.text(found, paths))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    findings = doctor.examine(options.device, options.comfyui)
    say(json.dumps(findings, indent=1) if options.json else diagnosis.text(findings))
    fused = [backend for backend in findings["backends"] if backend["name"] != "math"]
    usable = any(backend["available"] for backend in fused) and not findings["remedy"]
    return 0 if usable else 1


def _demo(options: argparse.Namespace) -> int:
    clip = Video.of(options.size, options.frames)
    backends = options.backend or [name for name in wishes() if name not in KERNELS]
    device = options.device or doctor.default_device()
    model = demo.prepare(backends, device, options.steps, options.out)
    total = 2 * options.steps * (1 + len(backends))
    with (
        without_profiler_lines() as stream,
        tqdm(total=total, desc="denoising", unit="forward", file=stream) as bar,
    ):
        payload, recorder, outcomes = demo.run(model, backends, clip, options.steps, bar.update)
    paths = demo.write(options.out, payload, recorder)
    limit = LARGEST_ERROR.get(device.partition(":")[0], LARGEST_ERROR["cuda"])
    say(
        json.dumps(payload, indent=1)
        if options.json
        else _demo_text(payload, outcomes, paths, limit, demo.race(payload, device))
    )
    return 0 if all(outcome.error <= limit for outcome in outcomes) else 1


def _demo_text(
    payload: dict,
    outcomes: list[demo.Outcome],
    paths: list[Path],
    limit: float,
    times: dict[str, float],
) -> str:
    errors = [f"  {outcome.backend}: {outcome.error:.2e}" for outcome in outcomes]
    verdict = f"max relative error against the unpatched model (at most {limit:.0e} expected):"
    written = f"written: {', '.join(map(str, paths))}"
    meaning = demo.meaning(payload, times, outcomes, limit)
    return "\n".join([text_of(payload), "", verdict, *errors, written, "", meaning])


if __name__ == "__main__":
    sys.exit(main())
