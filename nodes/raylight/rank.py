"""What an actor runs on its model, sent here by `sent`: plain data in, plain data out.

Nothing stays on the model from one sampler call to the next, so that a node that is bypassed is gone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

from comfy.model_management import InterruptProcessingException
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...attention.backends import BACKENDS
from ...attention.backends.lse import Sums, joinable
from ...attention.choose.measure.timings import Timings, default_path
from ...attention.choose.policy import NoBackend, Policy
from ...attention.choose.rules import Rule
from ...attention.environment import probe
from ...attention.report.text import csv_of
from ...attention.run.dispatch import Dispatcher
from ...attention.run.follow import current
from ...attention.run.forward import Unreachable
from ...version import __version__
from ..host import functions
from ..host.override import KEY, SLOT
from ..host.patch import block_count
from ..host.report.payload import build
from ..host.run.tap import HostTap
from ..host.tap import Tap, taps
from .sequence import Sequence
from .shared import SharedTimings, board

OWN = f"{KEY}.raylight"
PARALLEL = "xfuser.core.distributed"
RING = "ring attention: each part of a call that a rank computes is counted as a call of its own"


def ready(model: ModelPatcher | None, version: str) -> dict:
    """What the node wants to know of a rank before anything is sampled. RuntimeError where the packs differ."""
    if version != __version__:
        raise RuntimeError(
            f"wanattn {__version__} found by a Ray actor, needs {version} as in this ComfyUI"
        )
    functions.register_all()
    return {"model": model is not None, "mode": mode()}


def begin(model: ModelPatcher, settings: dict) -> None:
    """Put the settings of a node on the model, for the sampler call that comes next."""
    withdraw(model)
    functions.register_all()
    sums = Sums() if degree("ring_parallel") > 1 else None
    dispatcher = Dispatcher(
        Policy(**settings["policy"]),
        timings_of=timings_of(settings["timings"], settings["run"]),
        rules=[Rule.parse(*rule) for rule in settings["rules"]],
        blocks=block_count(model),
        backends=joinable(BACKENDS, sums) if sums else BACKENDS,
        passing=(InterruptProcessingException,),
    )
    sequence = Sequence(sums)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, OWN, _in_words)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, OWN, functools.partial(_within, sequence))
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, OWN, _named)
    HostTap(None, dispatcher).install(model)


def take(model: ModelPatcher) -> dict | None:
    """The report of the sampler call that is over, None where none was begun; the model is as before."""
    own = _own(model)
    if own is None or own.dispatcher is None:
        return None
    snapshot = own.recorder.snapshot()
    notes = [*own.all_notes(), *([RING] if degree("ring_parallel") > 1 else [])]
    payload = build(own.facts(notes, snapshot), snapshot)
    device = str(model.load_device)
    facts = {
        "device": device,
        "card": probe().card(device) or device,
        "mode": mode(),
        "measuring_ms": round(own.dispatcher.tuning, 1),
    }
    withdraw(model)
    return {"facts": facts, "payload": payload, "csv": csv_of(snapshot)}


def withdraw(model: ModelPatcher) -> None:
    """Take off what `begin` has put on."""
    own = _own(model)
    if own is None or own.override is None:
        return
    options = model.model_options.get("transformer_options", {})
    covered = options.get(SLOT) is not own.override
    if not covered:
        del options[SLOT]
        options.update({SLOT: own.override.previous} if own.override.previous else {})
    for kind in (WrappersMP.OUTER_SAMPLE, WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL):
        model.remove_wrappers_with_key(kind, OWN)
        model.remove_wrappers_with_key(kind, KEY)
    model.remove_attachments(KEY)
    if covered:
        raise RuntimeError("another node's attention override was put over Wan Attention's")


def timings_of(path: str, run: str) -> Callable[[str], Timings]:
    """In the file that the host keeps, where this machine has its folder; shared with the other ranks of the group."""
    file = Path(path) if Path(path).parents[1].is_dir() else default_path()
    shared = board(run)

    @functools.cache
    def of(device: str) -> Timings:
        machine = probe().machine(device)
        return SharedTimings(file, machine, shared) if shared else Timings(file, machine)

    return of


def mode() -> str:
    """How the ranks divide the work, such as `Ulysses 2`."""
    names = {
        "ulysses_parallel": "Ulysses",
        "ring_parallel": "ring",
        "classifier_free_guidance": "CFG",
        "pipeline_parallel": "pipeline",
        "data_parallel": "data parallel",
    }
    parts = {title: degree(name) for name, title in names.items()}
    told = [f"{title} {count}" for title, count in parts.items() if count > 1]
    return ", ".join(told) or "each rank on its own"


def degree(name: str) -> int:
    count = _parallel(f"get_{name}_world_size")
    return 1 if count is None else count


def _parallel(question: str) -> int | None:
    """What xfuser answers, None where it is not there."""
    ask = getattr(sys.modules.get(PARALLEL), question, None)
    try:
        return ask() if ask else None
    except AssertionError:  # no such group in this run
        return None


def _own(model: ModelPatcher) -> Tap | None:
    return next((tap for tap in taps(model) if tap.dispatcher), None)


def _in_words(executor, *args, **kwargs):
    """Ray carries no error between processes that is more than its words."""
    try:
        return executor(*args, **kwargs)
    except (NoBackend, Unreachable) as error:
        raise RuntimeError(str(error)) from None


def _within(sequence: Sequence, executor, *args, **kwargs):
    with sequence.taken():
        return executor(*args, **kwargs)


def _named(executor, *args, **kwargs):
    """With CFG divided, a rank's forward has one conditioning of those in the batch."""
    forward = current()
    if forward is not None:
        conds = forward.cond.split("+")
        if len(conds) == degree("classifier_free_guidance"):
            forward.cond = conds[_parallel("get_classifier_free_guidance_rank") or 0]
    return executor(*args, **kwargs)
