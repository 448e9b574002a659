"""Notices outputs that are not finite, without making the host wait for the device."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import torch

SEATS = 1024  # guarded calls on one device before the sums leave early


@dataclass(frozen=True, slots=True)
class Suspect:
    """Where an output was not finite."""

    kind: object  # the dispatcher's key for calls of this kind
    backend: str
    step: int | None
    block: int | None


@dataclass(slots=True)
class _Sheet:
    """One sum per guarded call of a forward, on the device, and who it belongs to."""

    sums: torch.Tensor
    suspects: list[Suspect]


class Guard:
    """Sums each guarded output into one number; a sum that is not finite betrays an output that is not.

    The sums travel to the host at the end of a forward and are read once they have arrived.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the host may run several devices in threads of their own
        self._sheets: dict[torch.device, _Sheet] = {}
        self._travelling: deque[tuple[torch.Tensor, torch.cuda.Event | None, list[Suspect]]] = (
            deque()
        )

    def watch(self, out: torch.Tensor, suspect: Suspect) -> None:
        with self._lock:
            self._watch(out, suspect)

    def post(self) -> None:
        """Call at the end of a forward."""
        with self._lock:
            self._post()

    def read(self, wait: bool = False) -> list[Suspect]:
        """Those whose outputs were not finite, of all forwards whose sums are here by now."""
        with self._lock:
            return self._read(wait)

    def _watch(self, out: torch.Tensor, suspect: Suspect) -> None:
        sheet = self._sheets.get(out.device)
        if sheet is None:
            with torch.inference_mode(False):  # written in and out of inference mode
                sums = torch.zeros(SEATS, dtype=torch.float32, device=out.device)
            sheet = self._sheets[out.device] = _Sheet(sums, [])
        if len(sheet.suspects) == SEATS:
            self._post()
        seat = sheet.sums[len(sheet.suspects)]
        sheet.suspects.append(suspect)
        torch.sum(out.detach(), dim=tuple(range(out.ndim)), dtype=torch.float32, out=seat)

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
            bad = (~torch.isfinite(sums)).nonzero().flatten().tolist()
            found += [suspects[index] for index in bad]
        return found
