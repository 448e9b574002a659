"""Actors as Raylight's are used, in this process: what one is sent runs at once, its result or its error waits in a ref."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field


class Ray:
    """What is asked of the module of that name."""

    @staticmethod
    def get(refs):
        return [ref.got() for ref in refs] if isinstance(refs, list) else refs.got()


@dataclass
class Ref:
    value: object = None
    error: Exception | None = None

    def got(self):
        if self.error is not None:
            raise self.error
        return self.value


@dataclass
class Method:
    """As Ray's, `remote` itself raises only where the arguments do not fit."""

    run: Callable

    def remote(self, *args, **named) -> Ref:
        inspect.signature(self.run).bind(*args, **named)
        try:
            return Ref(self.run(*args, **named))
        except Exception as error:
            return Ref(error=error)


@dataclass(eq=False)
class Actor:
    """`sample` stands behind the method of that kind; `name` makes two handles of one actor equal, as Ray's are."""

    name: str
    model: object = None
    sample: Callable = lambda model, seed: seed
    asked: list = field(default_factory=list)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Actor) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def model_function_runner_get_values(self) -> Method:
        return Method(self._run)

    @property
    def common_ksampler(self) -> Method:
        return Method(self._sample)

    @property
    def get_local_rank(self) -> Method:
        return Method(lambda: int(self.name))

    def _run(self, function, *given):
        self.asked.append((function, *given))
        return function(self.model, *given)

    def _sample(self, seed: int):
        self.asked.append(("sample", seed))
        return self.sample(self.model, seed)
