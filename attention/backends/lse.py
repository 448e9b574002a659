"""Torch's kernels with the log-sum-exp of their scores, by which ring attention joins the parts of a call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from . import process
from .backend import Backend

Joinable = Callable[..., tuple[torch.Tensor, torch.Tensor]]
NEEDED = "gives no log-sum-exp, needs one for ring attention to join its parts"
aten = torch.ops.aten


@dataclass(slots=True)
class Sums:
    """The log-sum-exp of the newest call: float32 of [batch, heads, queries], None where it was none of ours."""

    newest: torch.Tensor | None = None


def _flash(q, k, v, scale) -> tuple[torch.Tensor, torch.Tensor]:
    if q.device.type == "cpu":
        return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, scale=scale)
    with process.LOCK:  # torch's swap of this kernel holds for every thread
        return aten._scaled_dot_product_flash_attention(q, k, v, scale=scale)[:2]


def _efficient(q, k, v, scale) -> tuple[torch.Tensor, torch.Tensor]:
    return aten._scaled_dot_product_efficient_attention(q, k, v, None, True, scale=scale)[:2]


def _cudnn(q, k, v, scale) -> tuple[torch.Tensor, torch.Tensor]:
    return aten._scaled_dot_product_cudnn_attention(q, k, v, None, True, scale=scale)[:2]


JOINABLE: Mapping[str, Joinable] = {"flash": _flash, "efficient": _efficient, "cudnn": _cudnn}


def joinable(known: Mapping[str, Backend], sums: Sums) -> dict[str, Backend]:
    """The same backends under the same names, each leaving its log-sum-exp in `sums` or refusing every call."""
    return {name: _joinable(backend, sums) for name, backend in known.items()}


def _joinable(backend: Backend, sums: Sums) -> Backend:
    kernel = JOINABLE.get(backend.name)
    facts = {field.name: getattr(backend, field.name) for field in dataclasses.fields(Backend)}
    if kernel is None:
        return Backend(**{**facts, "refusals": _refused, "gate": None})

    def run(q, k, v, mask=None, scale=None) -> torch.Tensor:
        out, found = kernel(q, k, v, scale)
        # Kernels pad the queries or keep a last dimension of one.
        sums.newest = found.reshape(*found.shape[:2], -1)[:, :, : q.shape[2]].float()
        return out

    return Backend(**{**facts, "run": run, "refusals": _unmasked(backend)})


def _refused(call, environment) -> list[str]:
    return [NEEDED]


def _unmasked(backend: Backend):
    def refusals(call, environment) -> list[str]:
        masked = ["masked call, ring attention takes no mask"] if call.mask != "none" else []
        return masked + backend.refusals(call, environment)

    return refusals
