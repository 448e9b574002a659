"""What to use on this machine, in sentences. Pure: facts in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ..backends import BACKENDS, Kernel
from ..call import Call
from ..environment import Environment
from . import unused
from .cards import Line, of_card
from .measure.timings import Timing

SWAPS = ("torch_fa3", "torch_fa4")  # the kernels of fa3 and fa4 once more
SELF = "self-attention"


@dataclass(frozen=True, slots=True)
class Standing:
    """Which kernels a machine has: `here` can run, `missing` lack their package alone, `others` cannot exist there."""

    here: tuple[str, ...]
    missing: tuple[str, ...]
    others: Mapping[str, list[str]]


def standing(environment: Environment, device: str) -> Standing:
    """Of a small self-attention call of Wan's. Imports the kernels' packages, runs nothing."""
    return sorted_out(
        {
            name: backend.refusals(probe_call(environment, device), environment)
            for name, backend in BACKENDS.items()
        }
    )


def sorted_out(refusals: Mapping[str, list[str]]) -> Standing:
    """By backend name what it said to a call that it ought to take."""
    here = tuple(name for name, reasons in refusals.items() if not reasons and name not in SWAPS)
    missing = tuple(
        name
        for name, reasons in refusals.items()
        if name not in SWAPS and reasons and _lacks_package(name, reasons)
    )
    others = {n: reasons for n, reasons in refusals.items() if reasons and n not in missing}
    return Standing(here, missing, others)


def _lacks_package(name: str, reasons: list[str]) -> bool:
    backend = BACKENDS[name]
    return isinstance(backend, Kernel) and reasons == [backend.absence]


def probe_call(environment: Environment, device: str) -> Call:
    return Call("self", 1, 2, 256, 256, 128, usual_dtype(environment, device), device)


def usual_dtype(environment: Environment, device: str) -> torch.dtype:
    """What models compute in there: bfloat16, but on a CPU, and on cards that have none."""
    if device.startswith("cpu"):
        return torch.float32
    return torch.float16 if (environment.capability(device) or (8, 0)) < (8, 0) else torch.bfloat16


def answer(environment: Environment, device: str, found: Standing) -> str:
    """The first thing to say: what to use, what is here, what is missing; or why torch cannot use the card."""
    if card := unused.card(environment, device):
        why = unused.why(environment, device)
        return f"torch {environment.torch} cannot use your {card}: {why}."
    here = ", ".join(found.here) or "no kernel"
    if not set(found.here) - {"math"}:
        return (
            f"Use host, ComfyUI's own attention. Here: {here}, which needs much memory; "
            f"no other kernel can be named on {device.partition(':')[0]}."
        )
    return f"Use auto. Here: {here}. {_missing(device, found)}"


def _missing(device: str, found: Standing) -> str:
    if device.startswith("cpu"):
        kernels = sum(name not in SWAPS for name in found.others)
        return f"{kernels} kernels missing: they need a graphics card."
    if not found.missing:
        return "Nothing is missing that this card could use."
    noun = "kernel" if len(found.missing) == 1 else "kernels"
    return f"{len(found.missing)} {noun} missing: {', '.join(found.missing)}."


def use(
    environment: Environment,
    device: str,
    here: Sequence[str],
    known: Mapping[str, Mapping[str, Timing]],
) -> str:
    """One sentence on what `auto` takes: from this machine's own timings, else from what is known of such a card.

    `known` are the timings of this machine and device by key of a call, as timings.json holds them.
    """
    measured = _measured(known, here)
    if measured:
        return measured
    card = environment.card(device)
    if not card:
        fused = "On a CPU flash is the one fused kernel" if "flash" in here else "No card was found"
        return f"{fused} (not measured here; wanattn bench measures it)."
    told = [line for line in of_card(card) if line.figures]
    if not told:
        return f"{card}: not measured here, and no figure of such a card is known; wanattn bench measures it."
    for line in told:
        name = line.fastest(_exact(here))
        others = set(line.figures) & _exact(here) - {name}
        if name and (others or name == line.fastest(_exact(line.figures))):
            return f"{card}: not measured here. Of what is here {name} was fastest {line.where}: {line}."
    return f"{card}: not measured here. Known of such a card: {told[0]}."


def _exact(names: Iterable[str]) -> set[str]:
    return {name for name in names if name in BACKENDS and BACKENDS[name].exact}


def _measured(known: Mapping[str, Mapping[str, Timing]], here: Sequence[str]) -> str:
    """From the longest self-attention call that was timed; of kernels that are still there."""
    lengths = {key: tokens for key in known if (tokens := _tokens(key))}
    for key in sorted(lengths, key=lambda key: -lengths[key]):
        times = {name: known[key][name].milliseconds for name in _exact(known[key]) & set(here)}
        ranked = sorted(times, key=lambda name: times[name])
        if len(ranked) > 1:
            first, second = ranked[:2]
            ratio = times[second] / times[first]
            length = f"{SELF} of about {lengths[key]:,} tokens"
            return (
                f"Measured here: auto takes {first}, {ratio:.2f}x as fast as {second} ({length})."
            )
    return ""


def _tokens(key: str) -> int:
    """Of a key of timings.json, 0 where it is not unmasked self-attention."""
    words = key.split()
    q, _, kv = words[2].partition("x") if len(words) == 5 else ("", "", "0")
    return int(q) if q == kv and q.isdecimal() and words[4] == "none" else 0


@dataclass(frozen=True, slots=True)
class Gain:
    """A missing kernel worth installing: why, and the line that installs it on this machine, or why none does."""

    name: str
    why: str
    install: str


def gain(environment: Environment, device: str, found: Standing) -> Gain | None:
    """The missing kernel that gained most over what is here, where that is known of such a card; exact ones first."""
    card, environment = environment.card(device), environment.of(device)
    for exact in (True, False):
        gains = [
            (line.gain(name, over), name, over, line)
            for line in of_card(card)
            for name in found.missing
            if name in line.figures and BACKENDS[name].exact is exact
            if (over := line.fastest(_rivals(line, found.here)))
        ]
        ratio, name, over, line = max(gains, key=lambda found: found[0], default=(0, "", "", None))
        if line is not None and ratio > 1:
            why = f"{ratio:.1f}x {over} {line.where}: {line}"
            return _overtaking(environment, card, name, why, found.missing) or _gain(
                environment, line, name, why
            )
    return None


def _overtaking(
    environment: Environment, card: str, name: str, why: str, missing: Sequence[str]
) -> Gain | None:
    """Another missing kernel that was faster still, though nobody set it against what is here."""
    for line in of_card(card):
        best = line.fastest(_exact(missing))
        if best and name in line.figures and (ratio := line.gain(best, name)) > 1:
            told = f"{ratio:.1f}x {name} {line.where}: {line}; {name} was {why}"
            return _gain(environment, line, best, told)
    return None


def _rivals(line: Line, here: Sequence[str]) -> list[str]:
    """What a figure may be set against: an exact kernel that is here, torch's own choice among those, any exact one."""
    exact = _exact(line.figures)
    return (
        [name for name in exact if name in here]
        or [name for name in line.figures if name not in BACKENDS]
        or sorted(exact)
    )


def _gain(environment: Environment, line: Line, name: str, why: str) -> Gain:
    backend = BACKENDS[name]
    usual = backend.package.install(environment) if isinstance(backend, Kernel) else ""
    install = line.install.get(name, usual)
    precision = "" if backend.exact else ", approximate"
    return Gain(name, f"{name}{precision}, {why}", install)
