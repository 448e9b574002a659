"""What only the host knows: its versions, a model's kind, the name of a function, what the hook cannot see, and its devices."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
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
from ..override import WISH


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


def unseen(model, decided: bool = False) -> list[str]:
    """What a report tells of a model beside its calls: the attention that its file and its LoRAs ask for, with `decided`
    overruled by a node, and what is no part of it."""
    return [*_preferred(model, decided), "VAE and text encoder: not part of this model"]


def _preferred(model, decided: bool) -> list[str]:
    """Newer hosts let a checkpoint, and a LoRA over it, name a backend for each attention module."""
    wanted = Counter(_wishes(model))
    fate = (
        "Attention Backend comes before it"
        if decided
        else "in force where no override takes the call"
    )
    return [
        f"{who} asks for {name} in {count} module{'' if count == 1 else 's'}{instead}: {fate}"
        for (who, name, instead), count in wanted.items()
    ]


def _wishes(model) -> Iterator[tuple[str, str, str]]:
    """Who asks for what, and in the place of what; a LoRA's is an object patch until the model is loaded, and after."""
    patches = getattr(model, "object_patches", {})
    for name, module in model.model.named_modules():
        path = f"{name}.{WISH}"
        original = model.object_patches_backup.get(path, getattr(module, WISH, None))
        asked = patches.get(path, original)
        config = getattr(asked, "config", None)
        if config is not None:
            before = getattr(original, "config", None)
            over = asked is not original and before is not None
            instead = f" in place of the file's {_named(before)}" if over else ""
            yield ("a LoRA" if path in patches else "the file"), _named(config), instead


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
