"""What the doctor found, as text of at most 80 columns; a line to be copied stays whole."""

from __future__ import annotations

import sys
import textwrap

WIDTH = 80


def text(findings: dict) -> str:
    blocks = [
        _answer(findings),
        _gain(findings["gain"]),
        [_wrapped(sentence) for sentence in findings["replaced"]],
        _kernels(findings["backends"]),
        _machine(findings),
        _host(findings["comfyui"]),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _answer(findings: dict) -> list[str]:
    lines = [_wrapped(findings["answer"])]
    if findings["remedy"]:
        lines += _command("To mend that:", findings["remedy"])
        return [*lines, _wrapped("Until then everything runs on the CPU.")]
    return [*lines, _wrapped(findings["use"])]


def _gain(gain: dict | None) -> list[str]:
    if gain is None:
        return []
    return _command(f"Missing, and would gain most: {gain['why']}.", gain["install"])


def _command(sentence: str, line: str) -> list[str]:
    lines = [_wrapped(sentence), *_install(line, "  ")]
    if sys.platform == "win32" and line.startswith('"'):
        lines.append("  (in PowerShell write & and a space before it)")
    return lines


def _install(line: str, indent: str) -> list[str]:
    """A command is not broken, since nobody could copy it; a sentence in its place is."""
    if " -m pip " not in line:
        return _wrapped(line, indent, indent).split("\n")
    command, _, remark = line.rpartition(" (") if line.endswith(")") else (line, "", "")
    said = _wrapped(f"({remark}", indent, indent).split("\n") if remark else []
    return [indent + command, *said]


def _kernels(backends: list[dict]) -> list[str]:
    lines = ["Kernels"]
    for backend in backends:
        lines.append(_wrapped(f"{backend['name']:10} {_state(backend)}", "  ", " " * 13))
        if backend.get("install"):
            lines += _install(backend["install"], " " * 13)
    return lines


def _state(backend: dict) -> str:
    """`here: FlashAttention` or what it lacks, with the name that people know it by."""
    label = backend["label"] + ("" if backend["exact"] else " (approximate)")
    note = f"; {backend['note']}" if backend.get("note") else ""
    if backend["available"]:
        return f"here: {label}{note}"
    reasons = "; ".join(backend["reasons"])
    named = reasons.startswith(backend["label"])
    return (reasons if named else f"{label}: {reasons}") + (note if backend.get("install") else "")


def _machine(findings: dict) -> list[str]:
    facts = {**findings["environment"], "device": findings["device"]}
    told = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    toggles = ", ".join(
        f"{name} {'on' if on else 'off'}" for name, on in findings["toggles"].items()
    )
    sentence = f"torch's toggles, which allow and do not prove: {toggles}"
    return ["Machine", _wrapped(told, "  ", "  "), _wrapped(sentence, "  ", "  ")]


def _host(host: dict | None) -> list[str]:
    if host is None:
        return ["ComfyUI: not found; name its folder with --comfyui"]
    flags = ", ".join(host["flags"]) or "none"
    lines = [
        f"version {host['version']} in {host['path']}",
        f"attention without a flag: {host['default']}; flags that change it: {flags}",
        *(f"start script {name}: {', '.join(given)}" for name, given in host["launchers"].items()),
    ]
    return ["ComfyUI", *(_wrapped(line, "  ", "  ") for line in lines)]


def _wrapped(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
