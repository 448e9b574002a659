"""What this machine has. The only module that looks at it."""

from __future__ import annotations

import contextlib
import functools
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch


def default_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.xpu.is_available():
        return "xpu"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator; `memory` in bytes, `capability` is None where the vendor has no such number."""

    name: str
    capability: tuple[int, int] | None
    memory: int


@dataclass(frozen=True, slots=True)
class Environment:
    """The facts that decide which kernels exist. `cudnn` is torch's number, such as 91900 for 9.19.0.

    `cards` are the graphics cards that the system lists, whether or not torch can use them; `built_for` is what torch
    was built for: cpu, CUDA 13.0, ROCm 6.4 or XPU; `code` the kinds of NVIDIA cards that it has code for, such as sm_86.
    """

    torch: str
    python: str
    platform: str
    cuda: str | None = None
    hip: str | None = None
    cudnn: int | None = None
    flash_built: bool = True
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    cards: tuple[str, ...] = ()
    built_for: str = ""
    code: tuple[str, ...] = ()
    free_memory: Callable[[str], int | None] = lambda device: None

    def gpu(self, device: str) -> Gpu | None:
        index = device.partition(":")[2] or "0"
        known = index.isdecimal() and int(index) < len(self.gpus)
        return self.gpus[int(index)] if known else None

    def card(self, device: str) -> str:
        """The name of what computes on `device`, empty on a CPU."""
        gpu = self.gpu(device) if device.startswith("cuda") else None
        if gpu or device.startswith("cpu"):
            return gpu.name if gpu else ""
        return self.cards[0] if self.cards else ""

    def of(self, device: str) -> Environment:
        """The same machine as if the card of `device` were its only one."""
        gpu = self.gpu(device) if device.startswith("cuda") else None
        return replace(self, gpus=(gpu,), cards=(gpu.name,)) if gpu else self

    def capability(self, device: str) -> tuple[int, int] | None:
        gpu = self.gpu(device) if device.startswith("cuda") else None
        return gpu.capability if gpu else None

    def machine(self, device: str) -> str:
        """What timings on `device` depend on, in one line. Kernel packages are kept with each timing."""
        gpu = self.gpu(device) if device.startswith("cuda") else None
        facts = {
            "driver": self.driver,
            "torch": self.torch,
            "CUDA": self.cuda,
            "ROCm": self.hip,
            "cuDNN": self.cudnn_version,
        }
        name = gpu.name if gpu else f"{device.partition(':')[0]} of {self.platform}"
        return ", ".join([name, *(f"{what} {value}" for what, value in facts.items() if value)])

    @property
    def cudnn_version(self) -> str | None:
        if not self.cudnn:
            return None
        major = self.cudnn // (10000 if self.cudnn >= 90000 else 1000)
        return (
            f"{major}.{self.cudnn // 100 % (100 if self.cudnn >= 90000 else 10)}.{self.cudnn % 100}"
        )

    def facts(self, device: str = "cuda") -> dict[str, str | int | float | None]:
        """Plain data for reports of what ran on `device`, the first GPU if there is one where none is named."""
        gpu = self.gpu(device) if device.startswith("cuda") else None
        return {
            "torch": self.torch,
            "cuda": self.cuda,
            "hip": self.hip,
            "cudnn": self.cudnn_version,
            "gpu": gpu.name if gpu else None,
            "capability": ".".join(map(str, gpu.capability)) if gpu and gpu.capability else None,
            "memory_gib": round(gpu.memory / 2**30, 1) if gpu else None,
            "python": self.python,
            "platform": self.platform,
        }


@functools.cache
def probe() -> Environment:
    """Look once; the answer holds for the life of the process."""
    has_cuda = torch.cuda.is_available()
    return Environment(
        torch=torch.__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cuda=torch.version.cuda if has_cuda else None,
        hip=torch.version.hip if has_cuda else None,
        cudnn=torch.backends.cudnn.version() if has_cuda and not torch.version.hip else None,
        flash_built=torch.backends.cuda.is_flash_attention_available() if has_cuda else True,
        gpus=tuple(_gpu(index) for index in range(torch.cuda.device_count())) if has_cuda else (),
        driver=_driver() if has_cuda else None,
        cards=_cards(),
        built_for=_built_for(),
        code=tuple(torch.cuda.get_arch_list()) if has_cuda and not torch.version.hip else (),
        free_memory=free_memory,
    )


def _built_for() -> str:
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    if torch.version.hip:
        return f"ROCm {torch.version.hip}"
    return "XPU" if getattr(torch.version, "xpu", None) else "cpu"


def _cards() -> tuple[str, ...]:
    """By torch where it can use them, else by the system. Any of this may be missing on any machine."""
    if torch.cuda.is_available():
        return tuple(
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        )
    if torch.xpu.is_available():
        return tuple(torch.xpu.get_device_name(index) for index in range(torch.xpu.device_count()))
    if torch.backends.mps.is_available():
        name = getattr(torch.backends.mps, "get_name", None)
        return (name() if name else "Apple GPU",)
    return tuple(_adapters()) if sys.platform == "win32" else _nvidia_cards_of_linux()


def _nvidia_cards_of_linux() -> tuple[str, ...]:
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            found = re.search(r"^Model:\s*(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            names += [found[1].strip()] if found else []
    return tuple(name if "NVIDIA" in name else f"NVIDIA {name}" for name in names)


ADAPTERS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"


def _adapters() -> dict[str, str]:
    """What Windows names its display adapters, with their drivers' versions; one that was taken out may be listed."""
    if sys.platform != "win32":
        return {}
    import winreg

    found: dict[str, str] = {}
    for number in range(16):
        with (
            contextlib.suppress(OSError),
            winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{ADAPTERS}\{number:04}") as adapter,
        ):
            name = str(winreg.QueryValueEx(adapter, "DriverDesc")[0])
            found[name] = ""
            found[name] = str(winreg.QueryValueEx(adapter, "DriverVersion")[0])
    return found


def nvidia_version(windows: str) -> str:
    """`581.80` of what Windows calls `32.0.15.8180`; empty for what is no such number."""
    digits = windows.replace(".", "")[-5:]
    return f"{digits[:3]}.{digits[3:]}" if len(digits) == 5 and digits.isdecimal() else ""


def _driver() -> str | None:
    """The driver's own version where the system shows it, else the CUDA version that it serves."""
    for name, version in _adapters().items():
        if "NVIDIA" in name and nvidia_version(version):
            return nvidia_version(version)
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").split()
        return next(word for word in words if re.fullmatch(r"\d+(\.\d+)+", word))
    except (OSError, StopIteration):
        served = getattr(torch._C, "_cuda_getDriverVersion", None)
        return str(served()) if served and torch.version.cuda else None


def _gpu(index: int) -> Gpu:
    properties = torch.cuda.get_device_properties(index)
    capability = None if torch.version.hip else (properties.major, properties.minor)
    return Gpu(properties.name, capability, properties.total_memory)


def require(device: str) -> None:
    """Raise ValueError with torch's reason if nothing can be put on `device`."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises an AssertionError
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"device '{device}' cannot be used: {first_line}") from error


def free_memory(device: str) -> int | None:
    """Bytes that an allocation on `device` could still get, torch's own cache included; None if unknown."""
    if device.startswith("cuda"):
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return psutil.virtual_memory().available if device.startswith("cpu") else None
