"""Notices outputs that are not finite, without making the host wait for the device."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from ..call import Call

SEATS = 1024  # guarded calls on one device before the sums leave early
OPERANDS = 4  # the output, q, k and v


@dataclass(frozen=True, slots=True)
class Suspect:
    """Where an output was not finite; `spoiled` is whether its q, k or v was not either."""

    kind: object  # the dispatcher's key for calls of this kind
    backend: str
    step: int | None
    block: int | None
    spoiled: bool = False

    @property
    def place(self) -> str:
        step = "an unknown step" if self.step is None else f"step {self.step}"
        return step if self.block is None else f"{step}, block {self.block}"


def began(suspect: Suspect, call: Call) -> str:
    """Where a run stopped being finite, and who it was as far as that is known."""
    where = f"{suspect.place} ({call.role} calls, {suspect.backend})"
    if suspect.spoiled:
        return (
            f"not finite before attention, seen in {where}: the model or the latent, not the kernel"
        )
    mask = "; a mask that hides all keys of a token does that" if call.mask != "none" else ""
    return f"output not finite of finite q, k and v, seen in {where}{mask}"


@dataclass(slots=True)
class _Sheet:
    """The sums of the guarded calls of a forward, [SEATS, OPERANDS] on the device, and who they belong to."""

    sums: torch.Tensor
    suspects: list[Suspect]


def _sheet(device: torch.device) -> _Sheet:
    with torch.inference_mode(False):  # written in and out of inference mode
        return _Sheet(torch.zeros(SEATS, OPERANDS, dtype=torch.float32, device=device), [])


class Guard:
    """Sums each guarded output and its inputs into a number each; a sum that is not finite betrays a tensor that is not.

    A token that is not finite is so in every channel: the matrix products before it see to that. So one channel of each
    head is read, all of them where an output has to be seen `whole`, and in float16, which overflows channel by channel.
    The sums travel to the host at the end of a forward and are read once they have arrived.
    """

    def __init__(self, devices: Iterable[torch.device] = ()) -> None:
        self._lock = threading.Lock()  # the host may run several devices in threads of their own
        # Made before anything runs: within a CUDA graph's memory pool nothing may be left behind.
        self._sheets = {device: _sheet(device) for device in devices}
        self._travelling: deque[tuple[torch.Tensor, torch.cuda.Event | None, list[Suspect]]] = (
            deque()
        )

    def watch(
        self,
        out: torch.Tensor,
        suspect: Suspect,
        inputs: Sequence[torch.Tensor] = (),
        whole: bool = True,
    ) -> None:
        """`inputs` are q, k and v where they are at hand."""
        with self._lock:
            self._watch(out, suspect, inputs, whole)

    def post(self) -> None:
        """Call at the end of a forward."""
        with self._lock:
            self._post()

    def read(self, wait: bool = False) -> list[Suspect]:
        """Those whose outputs were not finite, of all forwards whose sums are here by now."""
        with self._lock:
            return self._read(wait)

    def _watch(self, out: torch.Tensor, suspect: Suspect, inputs, whole: bool) -> None:
        sheet = self._sheets.get(out.device)
        if sheet is None:
            sheet = self._sheets[out.device] = _sheet(out.device)
        if len(sheet.suspects) == SEATS:
            self._post()
        seat = sheet.sums[len(sheet.suspects)]
        sheet.suspects.append(suspect)
        _sum(out, whole, seat[0])
        for place, tensor in enumerate(inputs, start=1):
            _sum(tensor, False, seat[place])
        if not inputs:
            seat[1:].zero_()  # of an earlier forward

    def _post(self) -> None:
        for device, sheet in self._sheets.items():
            if not sheet.suspects:
                continue
            sums = sheet.sums[: len(sheet.suspects)].to("cpu", non_blocking=True, copy=True)
            arrived = None
            if device.type == "cuda":
                arrived = torch.cuda.Event()
                arrived.record(torch.cuda.current_stream(device))
            self._travelling.append((sums, arrived, sheet.suspects))
            sheet.suspects = []

    def _read(self, wait: bool) -> list[Suspect]:
        found: list[Suspect] = []
        while self._travelling:
            sums, arrived, suspects = self._travelling[0]
            if arrived is not None and wait:
                arrived.synchronize()
            elif arrived is not None and not arrived.query():
                break
            self._travelling.popleft()
            wrong = ~torch.isfinite(sums)
            spoiled = wrong[:, 1:].any(dim=1).tolist()
            for index in wrong[:, 0].nonzero().flatten().tolist():
                found.append(dataclasses.replace(suspects[index], spoiled=spoiled[index]))
        return found


def _sum(tensor: torch.Tensor, whole: bool, seat: torch.Tensor) -> None:
    part = tensor if whole or tensor.dtype == torch.float16 else tensor[..., 0]
    torch.sum(part.detach(), dim=tuple(range(part.ndim)), dtype=torch.float32, out=seat)
