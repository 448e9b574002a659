"""One run of a workflow on a server, from the queue to its end."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from functools import partial

from . import answers
from .catalogue import Catalogue
from .plan import Plan
from .prompt import Prompt, title
from .refusal import failure, no_wan, refusal
from .server import Gap, Server
from .trial import Trial
from .wiring import Wiring

POLL_SECONDS = 2.0
IDLE_SECONDS = 10.0


class Failed(RuntimeError):
    """A node of the run raised an error: another setting may still work."""


class Runner:
    """`tell` hears of every step of a run."""

    def __init__(
        self, server: Server, catalogue: Catalogue, plan: Plan, tell: Callable[[Trial], None]
    ) -> None:
        self._server, self._catalogue, self._tell = server, catalogue, tell
        self._timeout, self._any_model = plan.timeout, plan.any_model

    async def run(self, wiring: Wiring, backend: str, token: str) -> Trial:
        """Raises Failed, or RuntimeError where no further run makes sense; nothing of ours is left in the queue."""
        prompt, names = wiring.variant(backend, token)
        trial = Trial(str(uuid.uuid4()), names, wiring.watchers)
        await self._idle()
        try:
            await self._queue(prompt, trial)
            await self._follow(trial)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # the first error is the one to tell
                await self._server.withdraw(trial.prompt_id)
            raise
        self._judge(trial, wiring)
        return trial

    async def _idle(self) -> None:
        """A time beside another job is worth nothing."""
        deadline = time.monotonic() + IDLE_SECONDS
        while jobs := sum(map(len, await self._server.jobs())):
            if time.monotonic() > deadline:
                others = "another job" if jobs == 1 else f"{jobs} other jobs"
                raise RuntimeError(
                    f"{self._server.name} has {others} in its queue, which would spoil the times: "
                    "try again when it is empty"
                )
            await self._server.event(0.2)

    async def _queue(self, prompt: Prompt, trial: Trial) -> None:
        body = {
            "prompt": prompt,
            "client_id": self._server.client_id,
            "prompt_id": trial.prompt_id,
        }
        status, answer = await self._server.post("prompt", body)
        said = answer if isinstance(answer, dict) else {}
        # Where one output of several is refused, the server runs the others.
        if status != 200 or "prompt_id" not in said or said.get("node_errors"):
            raise ValueError(refusal(said, self._catalogue))
        trial.prompt_id = self._server.sense("prompt", answers.queued, said)

    async def _follow(self, trial: Trial) -> None:
        heard = time.monotonic()
        while True:
            found = await self._next(trial)
            if found and self._hear(trial, *found):
                heard = time.monotonic()
            record = await self._record(trial) if trial.end or not found else None
            if record is not None:
                await self._hear_out(trial)
                trial.settle(record)
                return
            if time.monotonic() - heard > self._timeout:
                raise RuntimeError(
                    f"{self._server.name} has said nothing of the run for {self._timeout:g} s, so it was given up: "
                    "see the server's log, or give it longer with --timeout"
                )

    def _hear(self, trial: Trial, moment: float, event: dict) -> bool:
        """Whether it was of this run."""
        before = trial.progress
        ours = trial.feed(event, moment)
        if len(trial.payloads) == len(trial.watchers):  # another one may yet have a Wan model
            self._require_wan(trial)
        if trial.progress != before:
            self._tell(trial)
        return ours

    async def _hear_out(self, trial: Trial) -> None:
        """The record may be there before the last events are read: a run can end between two polls."""
        while not trial.end:
            found = await self._next(trial)
            if not found:
                return trial.lose_track()
            self._hear(trial, *found)

    async def _next(self, trial: Trial) -> tuple[float, dict] | None:
        try:
            return await self._server.event(POLL_SECONDS)
        except Gap:
            if not trial.whole:
                raise RuntimeError(
                    f"the connection to {self._server.name} ended twice in one run: see the server's log"
                ) from None
        trial.lose_track()
        try:
            await self._server.listen()
        except RuntimeError as error:
            raise RuntimeError(f"the connection ended during a run, and now: {error}") from error
        return None

    async def _record(self, trial: Trial) -> dict | None:
        """The server's record of the run, which is there once it has ended."""
        for _ in range(2):  # it may end between the two questions
            place, of = (
                f"history/{trial.prompt_id}",
                partial(answers.record, prompt_id=trial.prompt_id),
            )
            if found := await self._server.read(place, of):
                return found
            if trial.end or any(trial.prompt_id in jobs for jobs in await self._server.jobs()):
                return None
        raise RuntimeError(f"the run was taken out of the queue of {self._server.name}")

    def _require_wan(self, trial: Trial) -> None:
        sentence = "" if self._any_model else no_wan(trial.payloads.values())
        if sentence:
            raise ValueError(sentence)

    def _judge(self, trial: Trial, wiring: Wiring) -> None:
        """Whether this run says anything about attention."""
        if trial.end == "execution_interrupted":
            raise RuntimeError(f"the run was interrupted on {self._server.name} by someone else")
        if trial.end != "execution_success":
            raise Failed(failure(trial.facts, self._where(trial, wiring.prompt)))
        cached = [title(wiring.prompt, key) for key in wiring.samplers if key in trial.cached]
        if cached:
            raise RuntimeError(
                f"the server took {', '.join(cached)} from its cache and did not sample: "
                "start ComfyUI without packs that change its cache"
            )
        if trial.duration <= 0:
            raise RuntimeError(
                f"{self._server.name} does not say how long a run took, needs ComfyUI 0.8 or newer"
            )
        if trial.whole and not any(key in trial.seconds for key in wiring.samplers):
            raise RuntimeError("no sampler ran: connect one to what the workflow saves")
        if trial.whole and not trial.payloads:
            raise RuntimeError(
                "no attention call came through the Attention nodes, so there is nothing to compare: "
                "see the server's log"
            )
        self._require_wan(trial)

    def _where(self, trial: Trial, prompt: Prompt) -> str:
        key = trial.failed_at
        return title(prompt, key) if key in prompt else f"{trial.facts.get('node_type', '')} {key}"
