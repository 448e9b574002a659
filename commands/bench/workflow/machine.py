"""The machine that a server measures on, as a benchmark says it."""

from __future__ import annotations

from collections.abc import Mapping

Facts = dict[str, str | int | float | None]
OF_DEVICE = ("gpu", "memory_gib", "capability")


def facts(stats: Mapping) -> Facts:
    """From the answer to /system_stats, which has the device that the server uses before any other."""
    system = stats.get("system") or {}
    devices = stats.get("devices") or []
    return {
        "comfyui": system.get("comfyui_version"),
        "torch": system.get("pytorch_version"),
        "python": str(system.get("python_version") or "").partition(" ")[0] or None,
        "platform": system.get("os"),
        **(_of(devices[0]) if devices else {}),
    }


def learn(known: Facts, told: Mapping) -> Facts:
    """`known` with what a report of the diagnostics says of its environment.

    That has the first GPU that torch sees: another one than the server uses, or none where it uses mps.
    """
    same = told.get("gpu") == known.get("gpu")
    ours = () if same or "gpu" not in known else OF_DEVICE
    new = {name: fact for name, fact in told.items() if name not in ours}
    return {
        **known,
        **{name: fact for name, fact in new.items() if fact is not None or name not in known},
    }


def _of(device: Mapping) -> Facts:
    if device.get("type") == "cpu":
        return {"gpu": None, "memory_gib": None}
    memory = device.get("vram_total")
    return {"gpu": _name(device), "memory_gib": round(memory / 2**30, 1) if memory else None}


def _name(device: Mapping) -> str | None:
    """ComfyUI calls a GPU `cuda:0 NVIDIA H100 : native`, with torch's allocator at the end."""
    name = str(device.get("name") or device.get("type") or "")
    bare = name.removeprefix(f"{device.get('type')}:{device.get('index')} ")
    return bare.partition(" : ")[0] or None
