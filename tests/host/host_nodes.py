"""The host's own nodes that change how a model is asked, and what they leave alone: its attention.

A node takes a model and gives a changed clone; a conditioning takes what is said to the model and gives it changed.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import comfy.hooks
import pytest
import torch

Texts = dict[str, list]


@dataclass(frozen=True)
class Node:
    """`fewer` is whether it leaves calls out, `more` whether it makes more of them; `latent` what it needs."""

    change: Callable = lambda model: model
    texts: Callable[[Texts], Texts] = lambda texts: texts
    more: bool = False
    fewer: bool = False
    latent: tuple[int, ...] | None = None
    cfg: float = 2.0
    steps: int = 2


def host_node(file: str, name: str, **inputs) -> Callable:
    """By the file in comfy_extras and the node's id; skips the test where this host has none."""

    def change(model):
        module = pytest.importorskip(f"comfy_extras.{file}", reason=f"this ComfyUI has no {file}")
        made = _class(module, name)
        if hasattr(made, "EXECUTE_NORMALIZED"):
            return made.EXECUTE_NORMALIZED(model=model, **_taken(made.execute, inputs)).result[0]
        return getattr(made(), made.FUNCTION)(model, **inputs)[0]

    return change


def _class(module, name: str):
    """A node of the first kind by its table, one of the newer kind by its schema."""
    old = getattr(module, "NODE_CLASS_MAPPINGS", {}).get(name)
    known = [value for value in vars(module).values() if hasattr(value, "GET_SCHEMA")]
    new = [made for made in known if inspect.isclass(made) and _id(made) == name]
    if not old and not new:
        pytest.skip(f"this ComfyUI has no {name}")
    return old or new[0]


def _id(made) -> str:
    try:
        return made.GET_SCHEMA().node_id
    except Exception:  # the base class has no schema
        return ""


def _taken(execute: Callable, inputs: dict) -> dict:
    """Those that this version of the node knows."""
    known = inspect.signature(execute).parameters
    return {name: value for name, value in inputs.items() if name in known}


def _with(texts: Texts, name: str, *parts: list) -> Texts:
    return {**texts, name: [part for given in parts for part in given]}


def _set(cond: list, **values) -> list:
    return [[text, {**copy.copy(extras), **values}] for text, extras in cond]


def area(texts: Texts) -> Texts:
    """The left half of the picture on its own, and the whole of it."""
    half = ("percentage", 1.0, 1.0, 0.5, 0.0, 0.0, 0.0)  # depth, height, width; where they begin
    left = _set(texts["positive"], area=half, strength=0.8, set_area_to_bounds=False)
    return _with(texts, "positive", left, texts["positive"])


def masked(texts: Texts) -> Texts:
    mask = torch.zeros(1, 16, 16)
    mask[:, :, :8] = 1
    part = _set(texts["positive"], mask=mask, mask_strength=0.7, set_area_to_bounds=False)
    return _with(texts, "positive", part, texts["positive"])


def in_time(texts: Texts) -> Texts:
    """Nothing is said to the second of two steps."""
    return {**texts, "positive": _set(texts["positive"], start_percent=0.0, end_percent=0.4)}


def lora_hook(texts: Texts) -> Texts:
    """A LoRA for the positive conditioning alone, at half strength in the first steps."""
    hooks = comfy.hooks.create_hook_lora(_lora(), 1.0, 1.0)
    keyframes = comfy.hooks.HookKeyframeGroup()
    keyframes.add(comfy.hooks.HookKeyframe(strength=0.5))
    keyframes.add(comfy.hooks.HookKeyframe(strength=1.0, start_percent=0.5))
    hooks.set_keyframes_on_hooks(keyframes)
    hooked = comfy.hooks.set_hooks_for_conditioning(texts["positive"], hooks)
    return {**texts, "positive": hooked}


def hooked_pair(texts: Texts) -> Texts:
    """With and without the LoRA, side by side in one conditioning."""
    hooked = lora_hook(texts)["positive"]
    return _with(texts, "positive", hooked, texts["positive"])


def _lora(rank: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(31)
    key = "diffusion_model.blocks.0.self_attn.q"
    return {
        f"{key}.lora_A.weight": torch.randn(rank, 256, generator=generator),
        f"{key}.lora_B.weight": torch.randn(256, rank, generator=generator),
    }


EVERY_LAYER = {"double_layers": "0", "single_layers": "", "start_percent": 0.0, "end_percent": 1.0}
WINDOWS = {
    "context_schedule": "standard_static",
    "context_stride": 1,
    "closed_loop": False,
    "fuse_method": "pyramid",
    "freenoise": True,
}
CACHE = {"reuse_threshold": 10.0, "start_percent": 0.0, "end_percent": 1.0, "verbose": False}
NODES = {
    "EasyCache": Node(host_node("nodes_easycache", "EasyCache", **CACHE), fewer=True, steps=6),
    "LazyCache": Node(host_node("nodes_easycache", "LazyCache", **CACHE), fewer=True, steps=6),
    "SkipLayerGuidanceDiT": Node(
        host_node("nodes_slg", "SkipLayerGuidanceDiT", scale=3.0, **EVERY_LAYER), more=True
    ),
    "SkipLayerGuidanceDiTSimple": Node(
        host_node("nodes_slg", "SkipLayerGuidanceDiTSimple", **EVERY_LAYER), more=True
    ),
    "CFGZeroStar": Node(host_node("nodes_cfg", "CFGZeroStar")),
    "CFGNorm": Node(host_node("nodes_cfg", "CFGNorm", strength=0.9)),
    "APG": Node(host_node("nodes_apg", "APG", eta=1.0, norm_threshold=5.0, momentum=0.1)),
    "TCFG": Node(host_node("nodes_tcfg", "TCFG")),
    "FreSca": Node(
        host_node("nodes_fresca", "FreSca", scale_low=1.0, scale_high=1.2, freq_cutoff=4)
    ),
    "Mahiro": Node(host_node("nodes_mahiro", "Mahiro")),
    "Epsilon Scaling": Node(host_node("nodes_eps", "Epsilon Scaling", scaling_factor=1.005)),
    "NAGuidance": Node(
        host_node("nodes_nag", "NAGuidance", nag_scale=5.0, nag_alpha=0.5, nag_tau=1.5), cfg=1.0
    ),
    "RescaleCFG": Node(host_node("nodes_model_advanced", "RescaleCFG", multiplier=0.7)),
    "ModelSamplingSD3": Node(host_node("nodes_model_advanced", "ModelSamplingSD3", shift=5.0)),
    "ScaleROPE": Node(
        host_node(
            "nodes_rope",
            "ScaleROPE",
            scale_x=1.1,
            shift_x=0.0,
            scale_y=1.1,
            shift_y=0.0,
            scale_t=1.0,
            shift_t=0.0,
        )
    ),
    "ContextWindowsManual": Node(
        host_node(
            "nodes_context_windows",
            "ContextWindowsManual",
            context_length=3,
            context_overlap=1,
            dim=2,
            **WINDOWS,
        ),
        more=True,
        latent=(1, 16, 7, 16, 16),
    ),
    "WanContextWindowsManual": Node(
        host_node(
            "nodes_context_windows",
            "WanContextWindowsManual",
            context_length=9,
            context_overlap=4,
            **WINDOWS,
        ),
        more=True,
        latent=(1, 16, 7, 16, 16),
    ),
    "area": Node(texts=area, more=True),
    "mask": Node(texts=masked),
    "in time": Node(texts=in_time),
    "LoRA hook": Node(texts=lora_hook, more=True),
    "LoRA hook on a part": Node(texts=hooked_pair, more=True),
}
