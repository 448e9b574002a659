"""What attention this machine can run, found by running it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ..attention.backends import BACKENDS, Backend, Kernel
from ..attention.backends.kernels.sage import SAGE, entry_point
from ..attention.backends.replaced import replacements
from ..attention.call import Call
from ..attention.choose import advice, unused
from ..attention.choose.measure.timings import Timing, default_path, parse
from ..attention.environment import Environment, default_device, probe, require
from ..attention.failure import words
from ..nodes.host.program import find_host, host_default

ATTENTION_FLAG = re.compile(r"--use-[a-z-]*attention\b")


def examine(device: str | None = None, comfyui: Path | None = None) -> dict:
    """Plain data: what to use, environment, torch's toggles, every backend with its reasons, the ComfyUI found.

    Each backend is tried on a real call of Wan's head size, in the dtype that models have on that device.
    """
    environment = probe()
    asked, device = device, device or default_device()
    # A card that torch has no code for fails at the first value: the CPU then stands in, and the answer says why.
    tried = "cpu" if not asked and unused.card(environment, device) else device
    require(tried)
    backends = [_try(backend, tried, environment) for backend in BACKENDS.values()]
    host = find_host(comfyui)
    return {
        **advise(environment, device, backends, _kept(environment.machine(device), host)),
        "environment": environment.facts(),
        "device": tried,
        "toggles": {name: enabled() for name, enabled in TOGGLES.items()},
        "replaced": replacements(),
        "backends": backends,
        "comfyui": _describe_host(host, environment),
    }


def advise(
    environment: Environment, device: str, backends: list[dict], known: dict[str, dict[str, Timing]]
) -> dict:
    """The answer, what it rests on, and what to install; of plain facts alone."""
    found = advice.sorted_out({backend["name"]: backend["reasons"] for backend in backends})
    gain = advice.gain(environment, device, found)
    return {
        "answer": advice.answer(environment, device, found),
        "remedy": unused.remedy(environment, device),
        "use": advice.use(environment, device, found.here, known),
        "gain": asdict(gain) if gain else None,
    }


def _kept(machine: str, host: Path | None) -> dict[str, dict[str, Timing]]:
    """What was timed on this machine and kept, by ComfyUI or by the command. A file that is not sound counts as none."""
    known: dict[str, dict[str, Timing]] = {}
    places = [host / "user" / "wanattn" / "timings.json"] if host else []
    for path in (*places, default_path()):
        with contextlib.suppress(OSError, ValueError):
            known |= parse(path.read_text(encoding="utf-8")).get(machine, {})
    return known


TOGGLES: dict[str, Callable[[], bool]] = {
    "flash": torch.backends.cuda.flash_sdp_enabled,
    "mem_efficient": torch.backends.cuda.mem_efficient_sdp_enabled,
    "math": torch.backends.cuda.math_sdp_enabled,
}


def _try(backend: Backend, device: str, environment: Environment) -> dict:
    dtype = advice.usual_dtype(environment, device)
    q = torch.randn(1, 2, 256, 128, device=device, dtype=dtype)
    reasons = backend.refusals(Call.of(q, q, q, None, "self"), environment)
    if not reasons:
        try:
            backend.run(q, q, q)
        except Exception as error:  # a broken kernel is an answer here
            reasons = [words(error)]
    return {
        "name": backend.name,
        "label": backend.label,
        "available": not reasons,
        "reasons": reasons,
        "exact": backend.exact,
        **_package(backend, environment, device, reasons),
    }


def _package(backend: Backend, environment: Environment, device: str, reasons: list[str]) -> dict:
    """How to install it where that is all that it lacks."""
    if not isinstance(backend, Kernel):
        return {}
    lacking = reasons == [backend.absence]
    install = backend.package.install(environment.of(device)) if lacking else None
    version, note = backend.package.version, backend.note
    if backend is SAGE and version:
        note = entry_point(version, environment.capability(device)) or note
    return {"version": version, "note": note, "install": install}


def _describe_host(folder: Path | None, environment: Environment) -> dict | None:
    if folder is None:
        return None
    version = re.search(r'"(.+)"', (folder / "comfyui_version.py").read_text(encoding="utf-8"))
    return {
        "path": str(folder),
        "version": version and version[1],
        "flags": sorted(set(_flags_in(folder / "comfy" / "cli_args.py"))),
        "default": host_default(environment),
        "launchers": _launchers(folder),
    }


def _launchers(folder: Path) -> dict[str, list[str]]:
    """Start scripts that name an attention flag."""
    scripts = [
        path
        for place in (folder, folder.parent)
        for end in ("bat", "sh")
        for path in place.glob(f"*.{end}")
    ]
    named = {path.name: _flags_in(path) for path in scripts}
    return {name: flags for name, flags in named.items() if flags}


def _flags_in(path: Path) -> list[str]:
    return (
        ATTENTION_FLAG.findall(path.read_text(encoding="utf-8", errors="replace"))
        if path.is_file()
        else []
    )
