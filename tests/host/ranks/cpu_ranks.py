"""Lets Raylight, which asks for CUDA and NCCL, run on CPUs with gloo. In a folder of its own, which Ray's workers get
on their path; `pretend` is what they run first."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

RANKS = 2


def pretend() -> ExitStack:
    """Closing what it returns undoes what is undone at all: modules stay loaded."""
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    import comfy.model_management
    import comfy.supported_models_base as models
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    plain_init, plain_mesh = dist.init_process_group, dist.device_mesh.init_device_mesh
    put = ExitStack()
    put.enter_context(patch.object(torch.version, "cuda", None))
    put.enter_context(patch.object(torch.cuda, "get_device_capability", lambda *a: (0, 0)))
    put.enter_context(patch.object(torch.cuda, "device_count", lambda: RANKS))
    put.enter_context(
        patch.object(dist, "init_process_group", lambda _, **named: plain_init("gloo", **named))
    )
    put.enter_context(
        patch.object(
            dist.device_mesh, "init_device_mesh", lambda _, **named: plain_mesh("cpu", **named)
        )
    )
    if "__getattr__" in vars(models.BASE):  # Raylight replaces it
        put.enter_context(patch.object(models.BASE, "__getattr__", models.BASE.__getattr__))
    with patch.object(torch.cuda, "is_available", lambda: True):
        import raylight  # noqa: F401  xfuser defines its attention only where CUDA is
    return put


def settle(host: Path, source: Path) -> dict:
    """Has the workers that Raylight will start pretend too; returns its settings for them as they were."""
    import raylight.nodes as nodes

    path = os.pathsep.join(map(str, (host, source, Path(__file__).parent)))
    before = dict(nodes._RAY_RUNTIME_ENV_LOCAL)
    nodes._RAY_RUNTIME_ENV_LOCAL.update(
        env_vars={"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        worker_process_setup_hook="cpu_ranks.pretend",
    )
    # Raylight empties its folder when it starts: another's in use would be lost.
    os.environ["RAYLIGHT_RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  beside other work, nice workers starve
    os.environ["RAY_OVERRIDE_RESOURCES"] = '{"GPU": 2, "CPU": 4}'
    return before
