"""One run of one of the wrapper's samplers on a watched model, from its first forward until it lets go of the model."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType

import torch
from comfy.model_management import InterruptProcessingException

from ...attention.run.follow import entered, local
from ...attention.run.operator import serving
from .calls import account_of
from .places import Places
from .tap import WrapperTap
from .within import Within

LEVELS = "timesteps"  # what every sampler of the wrapper names those that it goes along


class Session:
    """Made for a sampler when it asks for the model; it counts once the model is called."""

    def __init__(self, taps: Sequence[WrapperTap]) -> None:
        self._taps = taps
        self._places: Places | None = None

    def call(self, real: torch.nn.Module, args: tuple, kwargs: dict) -> object:
        """A forward of the wrapper's transformer."""
        forward = self._forward(self._places or self._begin(real), real, args, kwargs)
        try:
            with self._reaching(real, forward):
                return real(*args, **kwargs)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for tap in self._taps:
                tap.forwarded()

    def end(self, state: str = "") -> None:
        """Where no error tells it, a run that did not come to its last step was interrupted between two of them."""
        if self._places is None:
            return
        self._places = None
        early = self._last is not None and self._last + 1 < self._steps
        for tap in reversed(self._taps):
            tap.ended(self, state or ("interrupted" if early else "finished"))

    def _begin(self, real: torch.nn.Module) -> Places:
        self._places = places = Places(real)
        self._steps = _steps(sys._getframe())
        self._last: int | None = None
        compiled = any("_orig_mod" in name for name, _ in real.named_modules())
        for tap in self._taps:
            tap.began(self, self._steps, _device(real), compiled)
        return places

    def _forward(self, places: Places, real: torch.nn.Module, args: tuple, kwargs: dict) -> Within:
        image = kwargs.get("clip_fea")
        image_len = image.shape[-2] if torch.is_tensor(image) else None
        other, forced = _other(kwargs), _forced(real, kwargs)
        decides = next((tap for tap in reversed(self._taps) if tap.wish), self._taps[-1])
        forward = Within(
            step=kwargs.get("current_step"),
            cond=_cond(args, kwargs),
            text_len=getattr(real, "text_len", None),
            image_len=image_len,
            taker=decides.taker,
            places=places,
            other=other,
            chooses=bool(decides.wish),
            forced=forced,
            known=places.known(image_len, other, forced),
        )
        self._last = forward.step
        for tap in self._taps:
            tap.joined(forward, overruled=tap is not decides)
        return forward

    @contextmanager
    def _reaching(self, real: torch.nn.Module, forward: Within) -> Iterator[None]:
        account = account_of(type(real).__module__)
        names = account.taking if forward.chooses else account.watching
        served = serving(forward.serve) if forward.chooses else nullcontext()
        with names.led(), entered(forward), served:
            yield

    def _fail(self, error: BaseException) -> None:
        interrupted = isinstance(error, InterruptProcessingException)
        if isinstance(error, Exception) and not interrupted:
            for tap in self._taps:
                tap.failed(error)
        self.end("interrupted" if interrupted else "failed")


def opened(taps: Sequence[WrapperTap]):
    """A function for a view that a sampler gets: whoever drops the view ends the session."""

    def open_view(view: object):
        session = Session(taps)
        weakref.finalize(view, session.end).atexit = False
        return session.call

    return open_view


def _steps(frame: FrameType | None) -> int:
    """Of the sampler further up, 0 where it does not show."""
    while frame is not None:
        code = frame.f_code
        if LEVELS in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            found = local(frame, LEVELS)
            if isinstance(found, torch.Tensor | list | tuple):
                return len(found)
        frame = frame.f_back
    return 0


def _cond(args: tuple, kwargs: dict) -> str:
    latents = kwargs.get("x", args[0] if args else ())
    if len(latents) > 1:  # a batch of both
        return "positive+negative"
    return "negative" if kwargs.get("is_uncond") else "positive"


def _other(kwargs: dict) -> str:
    if kwargs.get("audio_proj") is not None:
        return "audio"
    return "face" if kwargs.get("fantasy_portrait_input") is not None else "other"


def _forced(real: torch.nn.Module, kwargs: dict) -> frozenset[int]:
    """The blocks whose mode in this step is that of a node of the wrapper for some steps and blocks."""
    asked = (kwargs.get("transformer_options") or {}).get("attention_mode_override")
    step = kwargs.get("current_step")
    if not asked or step is None or not asked["start_step"] <= step < asked["end_step"]:
        return frozenset()
    every = range(len(list(real.get_submodule("blocks").children())))
    return frozenset(asked.get("blocks", every))


def _device(real: torch.nn.Module) -> torch.device:
    return torch.device(getattr(real, "main_device", "cpu"))
