"""What only the host knows: its versions, a model's kind, the name of a function, what the hook cannot see, and its devices."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import comfy.ldm.modules.attention as host_attention
import comfy.model_management
import comfyui_version
import torch
from comfy.model_patcher import ModelPatcher

from ....attention.environment import probe
from ....attention.failure import words
from ....attention.record.name import name_of
from ....version import __version__
from ..expected.outlook import Outlook
from ..expected.sizes import is_wan


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report tells beside the calls: the node that watched, its model, what was not seen, what was found out,
    what was expected, what was gained, and when the last run ended."""

    node: str | None
    model: dict
    coverage: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failure: dict | None = None
    outlook: Outlook = field(default_factory=Outlook)
    gain: dict | None = None
    date: str = ""


def failure_of(error: Exception) -> dict:
    """What ended a run: a sentence, what to change, and where the call was, as far as the error tells."""
    return {
        "sentence": getattr(error, "sentence", None) or words(error),
        "advice": getattr(error, "advice", ""),
        "step": getattr(error, "step", None),
        "block": getattr(error, "block", None),
    }


def unseen(model) -> list[str]:
    """What a report tells of a model beside its calls: the attention that its file asks for, and what is no part of it."""
    return [*_preferred(model), "VAE and text encoder: not part of this model"]


def _preferred(model) -> list[str]:
    """Newer hosts let a checkpoint name a backend for each attention module."""
    wanted: dict[str, int] = {}
    for module in model.model.modules():
        config = getattr(getattr(module, "comfy_attention", None), "config", None)
        if config is not None:
            name = _named(config)
            wanted[name] = wanted.get(name, 0) + 1
    return [
        f"the file asks for {name} in {count} module{'' if count == 1 else 's'}"
        for name, count in wanted.items()
    ]


def _named(config: object) -> str:
    """A wish is a name, a record with one, or a list of them in the order of preference."""
    if isinstance(config, (list, tuple)):
        return " or ".join(map(_named, config))
    if isinstance(config, dict):
        return str(config.get("backend") or config.get("name") or json.dumps(config, default=str))
    return str(config)


def facts_of(model) -> dict:
    wan = is_wan(model.model.diffusion_model)
    return {"class": type(model.model).__name__, "wan": wan}


def environment() -> dict:
    host = {
        "comfyui": comfyui_version.__version__,
        "host_attention": name_of(host_attention.optimized_attention),
    }
    device = str(
        comfy.model_management.get_torch_device()
    )  # the server may have been told to leave a GPU alone
    return {"wanattn": __version__, **host, **probe().facts(device)}


def parts_of(model: ModelPatcher) -> list[ModelPatcher]:
    """The model itself and its copies on other devices; hosts before 0.33 make none."""
    return [model, *model.get_additional_models_with_key("multigpu")]


def start_peaks(devices: Iterable[torch.device]) -> list[torch.device]:
    """Count the peak of memory from here; returns the devices that have memory of their own."""
    counted = [device for device in dict.fromkeys(devices) if device.type == "cuda"]
    for device in counted:
        torch.cuda.reset_peak_memory_stats(device)
    return counted


def peaks(devices: Iterable[torch.device]) -> dict[str, int]:
    """Bytes by the name of the device."""
    return {str(device): torch.cuda.max_memory_allocated(device) for device in devices}
