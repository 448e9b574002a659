"""A count of WanVideoWrapper's calls: steps by the timesteps that its transformer is given. Also loaded in a server."""

from __future__ import annotations

import torch

from .counting import Counting, _Below


class WrapperCounting(Counting):
    """`positive` are the embeddings of the positive text, which tell a forward's conditioning."""

    def __init__(self, model, positive: torch.Tensor | None = None) -> None:
        super().__init__(model)
        self._transformer = model.model.get_submodule("diffusion_model")
        self._positive = positive
        self._times: list[float] = []

    def __enter__(self) -> WrapperCounting:
        begin = self._transformer.register_forward_pre_hook(self._began, with_kwargs=True)
        end = self._transformer.register_forward_hook(self._ended, always_call=True)
        self._hooks = (begin, end)
        return self

    def __exit__(self, *error) -> None:
        for hook in self._hooks:
            hook.remove()

    def _began(self, module, args, kwargs) -> None:
        time = float(torch.as_tensor(kwargs["t"][0]).flatten()[0])
        if time not in self._times:
            self._times.append(time)
        self._step = self._times.index(time)
        self.forwards.append((self._named_text(kwargs["context"][0]),))
        self.steps.append(self._step)
        self._below = _Below(self)
        self._below.__enter__()

    def _ended(self, module, args, output) -> None:
        self._below.__exit__(None, None, None)

    def _named_text(self, context: torch.Tensor) -> str:
        known = self._positive
        same = known is not None and torch.equal(context.float().cpu(), known)
        return "positive" if same else "negative"
