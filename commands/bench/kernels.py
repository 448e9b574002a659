"""wanattn bench kernels: every attention backend at Wan 2.2's shapes, or on calls kept from a run."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from ...attention.backends import Backend
from ...attention.environment import probe, require
from ...attention.record.capture import Captured, load
from ...attention.wan import VARIANTS, Video
from ...bench import lists
from ...bench.benchmark import Benchmark, Progress
from ...bench.race import contenders
from ...bench.race.case import PARTS, Case, cases_of
from ...bench.race.contenders import HOST_NAMES, LEFT_OUT
from ...bench.race.device import TIMED
from ...bench.race.race import ROUNDS, race
from ...bench.results.row import Results
from ...nodes.host import program
from ...nodes.host.program import find_host

SIZE, FRAMES = "832x1216", "25,49,81"
SMALL_SIZE, SMALL_FRAMES = "256x256", "5,9"
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
ORIGIN = ("model", "block", "step", "sigma", "cond")  # facts of a kept call


def add_arguments(parser: argparse.ArgumentParser) -> None:
    small = f"{SMALL_SIZE} and {SMALL_FRAMES} on a CPU"
    add = parser.add_argument
    add("--model", help=f"{' or '.join(VARIANTS)}; default 14b")
    add("--size", help=f"WIDTHxHEIGHT in pixels; default {SIZE}, {small}")
    add("--frames", metavar="N,N", help=f"of the video, each 4n+1; default {FRAMES}")
    add("--dtype", help=f"{', '.join(DTYPES)}; default bfloat16, float32 on a CPU")
    add("--roles", metavar="A,B", help="default self,text")
    add("--backends", metavar="A,B", help="default: all that this machine can run")
    add("--device", help="such as cpu or cuda:0; default: the GPU if there is one")
    add("--comfyui", type=Path, metavar="FOLDER", help="the ComfyUI whose attention to measure too")
    replay = "a call that Attention Diagnostics kept; may be repeated"
    add("--replay", type=Path, action="append", default=[], metavar="FILE", help=replay)


def measure(options: argparse.Namespace, results: Results, progress: Progress) -> None:
    device = _device(options.device)
    cases = _cases(options, device, results)
    backends = _backends(options, cases, results)
    results.baseline = _baseline(options.against, [backend.name for backend in backends])
    rounds = ROUNDS if options.repeat is None else options.repeat
    try:
        race(
            cases,
            backends,
            results,
            progress,
            rounds=rounds,
            seed=options.seed or 0,
            settings=options.settings or "",
        )
    finally:
        timed = {row.backend for row in results.rows if row.times}
        names = [backend.name for backend in backends if backend.name in timed]
        if names and not options.against:
            results.baseline = _baseline(None, names)


BENCHMARK = Benchmark(
    "kernels", "Every attention backend at Wan 2.2's shapes.", add_arguments, measure
)


def _device(given: str | None) -> str:
    """With its number, as tensors name it."""
    device = given or ("cuda" if torch.cuda.is_available() else "cpu")
    require(device)
    known = torch.empty(0, device=device).device
    if known.type not in TIMED:
        raise ValueError(f"device '{device}', kernels can be timed on {' and '.join(TIMED)} only")
    if known.type == "cuda":
        torch.cuda.set_device(known)  # some kernel packages launch on the current one
    return str(known)


def _cases(options: argparse.Namespace, device: str, results: Results) -> list[Case]:
    """Replayed calls alone, unless shapes are asked for too."""
    cases = [_replayed(path, device, results) for path in _named_apart(options.replay)]
    if cases and not (options.size or options.frames):
        given = [name for name in ("model", "dtype", "roles") if getattr(options, name)]
        if given:
            raise ValueError(
                f"--{given[0]} says nothing about a replayed call; to measure Wan's shapes beside it add --size or --frames"
            )
        return cases
    return [*cases, *_shaped(options, device, results)]


def _named_apart(paths: Sequence[Path]) -> Sequence[Path]:
    names = [path.stem for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--replay has two files named '{twice}', needs a name for each")
    return paths


def _replayed(path: Path, device: str, results: Results) -> Case:
    """The file's name tells it from other calls of the same shape."""
    kept = load(path)
    results.notes.append(f"{path.stem} holds {_origin(kept)}.")
    call = dataclasses.replace(kept.call, device=device)
    size, frames = (kept.facts.get(name, "") for name in ("size", "frames"))
    size = size if re.fullmatch(r"\d{1,5}x\d{1,5}", size) else ""  # from anyone's file
    number = int(frames) if re.fullmatch(r"\d{1,5}", frames) else 0
    return Case(path.stem, size, number, call.role, call, kept.inputs)


def _origin(kept: Captured) -> str:
    facts = [f"{name} {kept.facts[name]}" for name in ORIGIN if name in kept.facts]
    facts += ["with a mask"] if kept.inputs.mask is not None else []
    whole = all(x.isfinite().all() for x in (kept.inputs.q, kept.inputs.k, kept.inputs.v))
    facts += [] if whole else ["NaN or infinity among their values, so that no error can be told"]
    return ", ".join([f"the tensors of a call, role {kept.call.role}", *facts])


def _shaped(options: argparse.Namespace, device: str, results: Results) -> list[Case]:
    variant = VARIANTS.get(_given(options.model, "14b"))
    if variant is None:
        raise ValueError(f"model '{options.model}', needs {' or '.join(VARIANTS)}")
    on_cpu = device.startswith("cpu")
    size = _given(options.size, SMALL_SIZE if on_cpu else SIZE)
    frames = _given(options.frames, SMALL_FRAMES if on_cpu else FRAMES)
    clips = [Video.of(size, number) for number in lists.numbers(frames, "frames", FRAMES)]
    parts = lists.words(_given(options.roles, ",".join(PARTS)), "roles", ",".join(PARTS))
    dtype = _dtype(_given(options.dtype, "float32" if on_cpu else "bfloat16"))
    if on_cpu and not (options.size and options.frames):
        results.notes.append(
            f"Measured at {size} and {frames} frames, since larger clips take long on a CPU; "
            "--size and --frames choose others."
        )
    return cases_of(variant, clips, dtype, device, parts)


def _given(text: str | None, default: str) -> str:
    return default if text is None else text


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ValueError(f"dtype '{name}', needs one of {', '.join(DTYPES)}")
    return DTYPES[name]


def _backends(options: argparse.Namespace, cases: list[Case], results: Results) -> list[Backend]:
    names = []
    if options.backends is not None:
        names = lists.words(options.backends, "backends", "flash,cudnn")
    device = cases[0].call.device
    functions = host_functions(options.comfyui, names, device, results)
    if names:
        return contenders.named(names, functions)
    return contenders.everything([case.call for case in cases], probe(), functions)


def host_functions(
    given: Path | None, names: Sequence[str], device: str, results: Results
) -> dict[str, Backend]:
    """ComfyUI's own attention functions. Loading them takes seconds, so on a CPU they must be asked for.

    Where they were asked for by name, RuntimeError says why they cannot be had; else a note does.
    """
    needed = any(name in HOST_NAMES for name in names)
    on_gpu = not names and device.startswith("cuda")
    folder = find_host(given) if needed or given is not None or on_gpu else None
    if folder is None:
        if on_gpu:
            results.notes.append(f"{LEFT_OUT}: none was found; name its folder with --comfyui.")
        return {}
    try:
        return _loaded(folder, device, results)
    except (ValueError, RuntimeError) as error:
        sentence = f"{LEFT_OUT}: {error}"
        if needed:
            raise RuntimeError(sentence) from error
        results.notes.append(f"{sentence}.")
        return {}


def _loaded(folder: Path, device: str, results: Results) -> dict[str, Backend]:
    program.load(folder, cpu=device.startswith("cpu"), nodes=False)
    results.environment["comfyui"] = program.version()
    return program.functions()


def _baseline(against: str | None, names: Sequence[str]) -> str:
    if against and against not in names:
        raise ValueError(f"--against '{against}', measured are {', '.join(names)}")
    return against or next((name for name in ("host", "flash") if name in names), names[0])
