"""Another model in a sampler run: some guiders hand the options of their first model to a second, nodes included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor

from ..expected.taking import taker_of
from ..override import KEY, SLOT, Override
from ..report.facts import parts_of
from .sampler import Sampler

ALONE = "this node neither tells nor changes them"
NODES = "the nodes that are wired to it tell them"


class Others:
    """Those of one run. Each one's own nodes are asked in place of the first model's, from its first forward on."""

    def __init__(
        self,
        model: ModelPatcher | None = None,
        sampler: Sampler | None = None,
        shape: tuple[int, ...] = (),
    ) -> None:
        self._own = {id(part.model) for part in parts_of(model)} if model else set()
        self._given = sampler, shape
        self._runs = ExitStack()
        self._wrappers: dict[int, list[Callable]] = {}
        self._forwards: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def met(self) -> Iterator[None]:
        """Meanwhile other models may come; their nodes' runs end with this one."""
        with self._runs:
            yield
        self._wrappers.clear()

    def running(self, tap: object, model: object) -> ModelPatcher | None:
        """The patcher of the model that runs, where it is not the one of this tap or a copy of it."""
        if not self._own or id(model) in self._own:
            return None
        patcher = getattr(model, "current_patcher", None)
        if patcher is None or tap in (patcher.get_attachment(KEY) or ()):
            return None
        return patcher

    def forward(self, patcher: ModelPatcher, executor, options: dict, *args, **kwargs):
        """One of another model's, under its own nodes if there are any."""
        asked = KEY in options
        wrappers = [] if asked else self._nodes(patcher)
        name = type(patcher.model.diffusion_model).__name__
        told = bool(wrappers) or options.get(KEY) is not None
        self._forwards[name, NODES if told else ALONE] += 1
        if asked:
            return executor(*args, options, **kwargs)
        visit = WrapperExecutor.new_class_executor(executor, patcher.model, wrappers)
        with _lent(patcher, options, alone=not wrappers):
            return visit.execute(*args, options, **kwargs)

    def _nodes(self, patcher: ModelPatcher) -> list[Callable]:
        key = id(patcher.model)
        if key not in self._wrappers:
            taps = patcher.get_attachment(KEY) or ()
            for tap in taps:
                self._runs.enter_context(tap.visited(patcher, *self._given))
            self._wrappers[key] = [tap.apply_model for tap in taps]
        return self._wrappers[key]

    def notes(self) -> list[str]:
        return [
            f"{forwards} forwards of this run were another model's ({name}): {told}"
            for (name, told), forwards in self._forwards.items()
        ]


@contextmanager
def _lent(patcher: ModelPatcher, options: dict, alone: bool) -> Iterator[None]:
    """Options of the first model as those of another: the attention that its own Attention Backend wants, or none of ours."""
    slot = options.pop(SLOT, None)
    own = patcher.model_options.get("transformer_options", {}).get(SLOT)
    lent = own if taker_of(patcher) else beneath(slot)
    options.update({SLOT: lent} if lent else {})
    if alone:
        options[KEY] = None  # no node of ours has a say
    try:
        yield
    finally:
        if alone:
            options.pop(KEY, None)
        options.pop(SLOT, None)
        options.update({SLOT: slot} if slot else {})


def beneath(slot):
    """What another pack had put there before our nodes came."""
    while isinstance(slot, Override):
        slot = slot.previous
    return slot
