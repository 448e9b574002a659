"""Real servers for the soak: one that lives through all of it, others that are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from tests.host.server import Server, install_nodes

NODES = Path(__file__).with_name("soak_nodes.py")


class Soaked(Server):
    """`device` is cpu, or the number of a CUDA device."""

    def __init__(self, host: Path, base: Path, device: str = "cpu") -> None:
        super().__init__(host, base)
        self._device = device

    def _arguments(self, base: str) -> list[str]:
        options = [*super()._arguments(base), "--use-pytorch-cross-attention"]
        if self._device == "cpu":
            return options
        options.remove("--cpu")
        return [*options, "--cuda-device", self._device]

    @property
    def resident(self) -> int:
        """Bytes of memory that the server holds."""
        assert self._process
        return psutil.Process(self._process.pid).memory_info().rss

    def kill(self) -> None:
        """As the system does where memory ends: nothing in the process hears of it."""
        assert self._process
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(20)

    def forget(self) -> None:
        """The server keeps every result by itself; that is no leak of the pack."""
        self.post("/history", {"clear": True})


def prepare(base: Path) -> None:
    """The pack, the tests' nodes, the soak's and a tiny model, in a folder of a server's own."""
    from comfy.cli_args import args

    args.cpu = True  # the models are only written here
    from tests.host import tiny

    install_nodes(base)
    (base / "custom_nodes" / NODES.name).symlink_to(NODES)
    models = base / "models" / "diffusion_models"
    models.mkdir(parents=True)
    tiny.save_wan(models, "t2v", 1, "high_noise")
