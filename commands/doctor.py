"""What attention this machine can run, found by running it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch

from ..attention.backends import BACKENDS, Backend, Kernel
from ..attention.call import Call
from ..attention.environment import Environment, default_device, probe, require
from ..attention.failure import words
from ..nodes.host.program import find_host, host_default

ATTENTION_FLAG = re.compile(r"--use-[a-z-]*attention\b")


def examine(device: str | None = None, comfyui: Path | None = None) -> dict:
    """Plain data: environment, torch's toggles, every backend with its reasons, the ComfyUI found.

    Each backend is tried on a real call of Wan's head size, in bfloat16 on a GPU and in float32 on a CPU.
    """
    environment = probe()
    device = device or default_device()
    require(device)
    return {
        "environment": environment.facts(),
        "device": device,
        "toggles": {name: enabled() for name, enabled in TOGGLES.items()},
        "backends": [_try(backend, device, environment) for backend in BACKENDS.values()],
        "comfyui": _describe_host(find_host(comfyui), environment),
    }


TOGGLES: dict[str, Callable[[], bool]] = {
    "flash": torch.backends.cuda.flash_sdp_enabled,
    "mem_efficient": torch.backends.cuda.mem_efficient_sdp_enabled,
    "math": torch.backends.cuda.math_sdp_enabled,
}


def _try(backend: Backend, device: str, environment: Environment) -> dict:
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
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
        **_package(backend, environment, reasons),
    }


def _package(backend: Backend, environment: Environment, reasons: list[str]) -> dict:
    """How to install it where that is all that it lacks."""
    if not isinstance(backend, Kernel):
        return {}
    lacking = reasons == [backend.absence]
    install = backend.package.install(environment) if lacking else None
    return {"version": backend.package.version, "note": backend.note, "install": install}


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


def text(findings: dict) -> str:
    """The findings as lines of `name: value`."""
    lines = [
        f"{name}: {value}" for name, value in findings["environment"].items() if value is not None
    ]
    lines.append(f"device: {findings['device']}")
    toggles = ", ".join(
        f"{name} {'on' if on else 'off'}" for name, on in findings["toggles"].items()
    )
    lines.append(f"torch toggles (allowed, not proof of availability): {toggles}")
    for backend in findings["backends"]:
        verdict = (
            "available"
            if backend["available"]
            else f"not available: {'; '.join(backend['reasons'])}"
        )
        precision = "" if backend["exact"] else ", approximate"
        lines.append(f"backend {backend['name']} ({backend['label']}{precision}): {verdict}")
        if backend.get("note") and (backend["available"] or backend["install"]):
            lines.append(f"  {backend['note']}")
        if backend.get("install"):
            lines.append(f"  to install: {backend['install']}")
    return "\n".join([*lines, *_host_lines(findings["comfyui"])])


def _host_lines(host: dict | None) -> list[str]:
    if host is None:
        return ["ComfyUI: not found; name its folder with --comfyui"]
    lines = [f"ComfyUI: {host['version']} in {host['path']}"]
    lines.append(
        f"ComfyUI attention without a flag: {host['default']}; flags: {', '.join(host['flags'])}"
    )
    return lines + [
        f"start script {name}: {', '.join(flags)}" for name, flags in host["launchers"].items()
    ]
