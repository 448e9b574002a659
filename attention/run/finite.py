"""Notices outputs that are not finite, without making the host wait for the device."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..call import Call

AT_ONCE = ("cpu",)  # types of devices on which a sum is there when it is asked for
SEATS = 1024  # guarded calls on one device before the sums leave early
OPERANDS = 4  # the output, q, k and v
BEFORE = "the model or the latent, not the kernel"
THIN = (
    "the model, the latent, or an earlier attention output in a head that was not read; "
    "the next run reads all heads"
)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Where an output or an input was not finite: `spoiled` tells of q, k and v, `thin` whether one head was read of each."""

    kind: object  # the dispatcher's key for calls of this kind
    backend: str
    step: int | None
    block: int | None
    spoiled: bool = False
    thin: bool = False

    @property
    def place(self) -> str:
        step = "an unknown step" if self.step is None else f"step {self.step}"
        return step if self.block is None else f"{step}, block {self.block}"


def began(suspect: Suspect, call: Call) -> str:
    """Where a run stopped being finite, and who it was as far as that is known."""
    where = f"{suspect.place} ({call.role} calls, {suspect.backend})"
    if suspect.spoiled:
        return f"not finite before attention, seen in {where}: {THIN if suspect.thin else BEFORE}"
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
    After the first step, which meets every weight, a `thin` look may do unless `thorough`: at one head of the output, the
    next one at the next call, and of the input that the last layers gave. What is not finite in another head is so in every
    head one call later. The sums travel to the host at the end of a forward and are read once they have arrived. Where
    there is no way to travel, an output is read whole and at once, and inputs only where it is not finite: there each
    further step costs more than what it reads.
    """

    def __init__(self, devices: Iterable[torch.device] = (), thorough: bool = False) -> None:
        self._lock = threading.Lock()  # the host may run several devices in threads of their own
        # Made before anything runs: within a CUDA graph's memory pool nothing may be left behind.
        self._sheets = {device: _sheet(device) for device in devices if device.type not in AT_ONCE}
        self._travelling: deque[tuple[torch.Tensor, torch.cuda.Event | None, list[Suspect]]] = (
            deque()
        )
        self._thorough = thorough
        self._first: int | None = None  # step
        self._turn = 0
        self._found: list[Suspect] = []

    def watch(
        self,
        out: torch.Tensor,
        suspect: Suspect,
        inputs: Sequence[torch.Tensor] = (),
        whole: bool = True,
        thin: bool = False,
    ) -> None:
        """`inputs` are q, k and v where they are at hand, all [batch, heads, tokens, head_dim].

        `thin` allows it: where every call is watched.
        """
        with self._lock:
            if self._first is None:
                self._first = suspect.step
            self._watch(out, suspect, inputs, whole, thin)

    def post(self) -> None:
        """Call at the end of a forward."""
        with self._lock:
            self._post()

    def read(self, wait: bool = False) -> list[Suspect]:
        """Those that were not finite, of all forwards whose sums are here by now."""
        with self._lock:
            return self._read(wait)

    def _watch(self, out: torch.Tensor, suspect: Suspect, inputs, whole: bool, thin: bool) -> None:
        if out.device.type in AT_ONCE:
            if not _finite(out):
                spoiled = not all(map(_finite, inputs))
                self._found.append(dataclasses.replace(suspect, spoiled=spoiled))
        elif self._settled(suspect.step) and thin and out.dtype != torch.float16:
            thin_suspect = dataclasses.replace(suspect, thin=True)
            self._note(thin_suspect, self._heads(out, inputs), out.device)
        else:
            self._note(suspect, _channels(out, inputs, whole), out.device)

    def _settled(self, step: int | None) -> bool:
        """Whether the first step is over and nothing was wrong in the run before."""
        return not self._thorough and step not in (None, self._first)

    def _heads(self, out: torch.Tensor, inputs) -> Iterator[torch.Tensor]:
        """The context, on which the keys of cross-attention depend, is the same in every step."""
        q, _, v = inputs
        self._turn += 1
        for tensor in (out, v if q.shape[2] == v.shape[2] else q):
            yield tensor[:, self._turn % tensor.shape[1]]

    def _note(self, suspect: Suspect, parts: Iterator[torch.Tensor], device: torch.device) -> None:
        sheet = self._sheets.get(device)
        if sheet is None:
            sheet = self._sheets[device] = _sheet(device)
        if len(sheet.suspects) == SEATS:
            self._post()
        seat = sheet.sums[len(sheet.suspects)]
        sheet.suspects.append(suspect)
        for place, part in enumerate(parts):
            part, whole = _plain(part), tuple(range(part.ndim))
            torch.sum(part, dim=whole, dtype=torch.float32, out=seat[place])

    def _post(self) -> None:
        for device, sheet in self._sheets.items():
            if not sheet.suspects:
                continue
            filled = sheet.sums[: len(sheet.suspects)]
            sums = filled.to("cpu", non_blocking=True, copy=True)
            filled.zero_()  # a call fills only the seats of what is read of it
            self._turn += 1  # the calls of one role come at the same places in every forward
            arrived = None
            if device.type == "cuda":
                arrived = torch.cuda.Event()
                arrived.record(torch.cuda.current_stream(device))
            self._travelling.append((sums, arrived, sheet.suspects))
            sheet.suspects = []

    def _read(self, wait: bool) -> list[Suspect]:
        found, self._found = self._found, []
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


def _channels(out: torch.Tensor, inputs: Sequence, whole: bool) -> Iterator[torch.Tensor]:
    """Of [batch, heads, tokens, head_dim] each; an output may have its heads merged, [batch, tokens, heads * head_dim]."""
    width = inputs[2].shape[3] if inputs and out.ndim == 3 else None
    yield out if whole else _channel(out, width)
    yield from map(_channel, inputs)


def _channel(tensor: torch.Tensor, every: int | None = None) -> torch.Tensor:
    """The first of each head."""
    if tensor.dtype == torch.float16:
        return tensor
    return tensor[..., ::every] if every else tensor[..., 0]


def _plain(part: torch.Tensor) -> torch.Tensor:
    return part.detach() if part.requires_grad else part


def _finite(part: torch.Tensor) -> bool:
    dtype = torch.float32 if part.dtype == torch.float16 else None
    return math.isfinite(_plain(part).sum(dtype=dtype).item())
