"""An independent count of a model's attention calls: what torch was really asked to run, where, and for whom.

It shares nothing with the pack: a dispatch mode below Python's functions sees the operator that ran, the call stack tells
the module, the sampler's own loop the step, and the context tensors the conditioning.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode

KERNELS = {
    "_scaled_dot_product_flash_attention": "flash",
    "_scaled_dot_product_flash_attention_for_cpu": "flash",
    "_scaled_dot_product_efficient_attention": "efficient",
    "_scaled_dot_product_cudnn_attention": "cudnn",
    "_scaled_dot_product_attention_math": "math",
}
TEXT_TOKENS = 512
# Where attention happens in the host's models, by the path of the module that does it. The first that matches counts.
PLACES = (
    (r"vace_blocks\.(\d+)\.self_attn", "vace self"),
    (r"vace_blocks\.(\d+)\.cross_attn", "vace text"),
    (r"face_adapter\.fuser_blocks\.(\d+)", "face"),
    (r"audio_injector\.injector\.(\d+)", "audio"),
    (r"blocks\.(\d+)\.audio_cross_attn_wrapper\.audio_cross_attn", "audio"),
    (r"music_injector\.injector\.(\d+)", "music"),
    (r"music_encoder\.\d+\.self_attn()", "music"),
    (r"speech\.blocks\.(\d+)\.audio_cross_attn", "speech"),
    (r"camera\.controlnet_blocks\.(\d+)\.self_attn", "camera"),
    (r"blocks\.(\d+)\.self_attn\.ref_adapter", "other"),
    (r"blocks\.(\d+)\.self_attn", "self"),
    (r"blocks\.(\d+)\.cross_attn", "text"),
    (r"blocks\.(\d+)", ""),  # the block itself, with keys that it kept from an earlier forward
)


@dataclass(frozen=True)
class Ran:
    """One attention call. `kernel` is a name in KERNELS or of a function that was announced with Counting.foreign."""

    module: str
    kernel: str
    q_len: int
    kv_len: int
    forward: int
    step: int | None
    conds: tuple[str, ...]

    @property
    def role(self) -> str:
        _, role = self._place()
        if role == "text" and self.kv_len != TEXT_TOKENS:
            return "image"
        return role or ("text" if self.kv_len == TEXT_TOKENS else "self")

    @property
    def block(self) -> int | None:
        """The number of the module in its own list; for VACE that of its own blocks."""
        number, _ = self._place()
        return int(number) if number else None

    def _place(self) -> tuple[str, str]:
        for pattern, role in PLACES:
            if found := re.fullmatch(pattern, self.module):
                return found.group(1), role
        raise AssertionError(f"attention in {self.module or 'no module'}: name its role in PLACES")


class Counting:
    """Counts while it is entered; `calls` stays.

    `known` is text embeddings by the name of their conditioning, `parts` further models that belong to the run, by the
    prefix that their modules get.
    """

    def __init__(
        self,
        model,
        known: Mapping[str, torch.Tensor] | None = None,
        parts: Mapping[str, torch.nn.Module] | None = None,
    ) -> None:
        self.calls: list[Ran] = []
        self.forwards: list[tuple[str, ...]] = []
        self.steps: list[int | None] = []
        self._base = model.model
        self._known = dict(known or {})
        self._step: int | None = None
        self._names = {
            id(module): name for name, module in self._base.diffusion_model.named_modules()
        }
        for prefix, part in (parts or {}).items():
            self._names |= {id(module): f"{prefix}.{at}" for at, module in part.named_modules()}

    def counts(self, *facts: str) -> Counter:
        """Calls by the values of these attributes, as text, None as nothing: as a CSV file has them."""
        values = (tuple(getattr(call, fact) for fact in facts) for call in self.calls)
        return Counter(tuple("" if v is None else str(v) for v in row) for row in values)

    def foreign(self, name: str, kernel: Callable) -> Callable:
        """The kernel, made to be counted under a name: one that is no operator of torch."""

        def counted(q, k, *rest, **named):
            self.add(name, q.shape[-2], k.shape[-2])
            return kernel(q, k, *rest, **named)

        return counted

    def add(self, kernel: str, q_len: int, kv_len: int) -> None:
        if _timed_beside():
            return
        forward = len(self.forwards) - 1
        conds = self.forwards[-1] if self.forwards else ()
        self.calls.append(Ran(self._running(), kernel, q_len, kv_len, forward, self._step, conds))

    def _running(self) -> str:
        """The path of the innermost module whose method is on the stack."""
        frame = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            if code.co_argcount:
                first = frame.f_locals.get(code.co_varnames[0])
                if isinstance(first, torch.nn.Module) and id(first) in self._names:
                    return self._names[id(first)]
            frame = frame.f_back
        return ""

    def __enter__(self) -> Counting:
        plain = self._base._apply_model

        def counted(x, t, c_concat=None, c_crossattn=None, *rest, **named):
            self.forwards.append(self._conds(c_crossattn))
            self.steps.append(self._step)
            with _Below(self):
                return plain(x, t, c_concat, c_crossattn, *rest, **named)

        self._base._apply_model = counted
        self._loops = _stepped(self._at)
        self._loops.__enter__()
        return self

    def __exit__(self, *error) -> None:
        del self._base._apply_model
        self._loops.__exit__(*error)

    def _at(self, step: int | None) -> None:
        self._step = step

    def _conds(self, context: torch.Tensor) -> tuple[str, ...]:
        return tuple(self._named(row) for row in context) if self._known else ()

    def _named(self, row: torch.Tensor) -> str:
        """The conditioning whose embeddings these are, but for the rounding of a cast."""
        near = {
            name: float((row[0].float() - tensor[0, 0].float()).abs().max())
            for name, tensor in self._known.items()
        }
        return min(near, key=near.__getitem__)


def _timed_beside() -> bool:
    """Whether the pack makes this call to time the host's function: not one of the model's, and few (test_expected)."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.replace("\\", "/").endswith("attention/run/beside.py"):
            return True
        frame = frame.f_back
    return False


class _Below(TorchDispatchMode):
    def __init__(self, counting: Counting) -> None:
        super().__init__()
        self._counting = counting

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name == "scaled_dot_product_attention":  # under inference mode it arrives whole
            with self:
                return func.decompose(*args, **kwargs)
        if name in KERNELS:
            self._counting.add(KERNELS[name], args[0].shape[-2], args[1].shape[-2])
        return func(*args, **kwargs)


class _Loop:
    """What a sampler takes for its progress bar: some iterate over it, some tell it when a step is over."""

    def __init__(self, count: int, at: Callable[[int | None], None]) -> None:
        self._count, self._at, self._done = count, at, 0
        at(0)

    def __iter__(self) -> Iterator[int]:
        for step in range(self._count):
            self._at(step)
            yield step
        self._at(None)

    def update(self, steps: int = 1) -> None:
        self._done += steps
        self._at(self._done)

    def close(self) -> None:
        self._at(None)

    def set_description(self, *words, **named) -> None:
        """Shown to nobody here."""


_hearing: list[Callable[[int | None], None]] = []


@contextmanager
def _stepped(at: Callable[[int | None], None]) -> Iterator[None]:
    """Every sampler's loop over its steps tells where it is, to all who count at the time."""

    def tell(step: int | None) -> None:
        for each in _hearing:
            each(step)

    loops = [
        module
        for module in list(sys.modules.values())
        if "trange" in getattr(module, "__dict__", {}) and "tqdm" not in module.__name__
    ]
    plain = [(module, module.trange) for module in loops]
    _hearing.append(at)
    for module in loops:
        module.trange = lambda count, *rest, **named: _Loop(count, tell)
    try:
        yield
    finally:
        _hearing.remove(at)
        for module, before in plain:
            module.trange = before
