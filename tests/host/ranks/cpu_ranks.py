"""Lets Raylight, which asks for CUDA and NCCL, run on CPUs with gloo. In a folder of its own, which Ray's workers get
on their path; `pretend` is what they run first."""

from __future__ import annotations

from contextlib import ExitStack
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
