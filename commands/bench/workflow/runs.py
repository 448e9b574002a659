"""The runs of a benchmark in their order: for each clip the first of every setting, then rounds that interleave."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from ....attention.choose.measure.turns import turns
from ....bench.benchmark import Progress
from ....bench.results.row import Results
from . import answers, machine, prompt
from .catalogue import Catalogue
from .fingerprint import digest
from .plan import Plan
from .progress import RunProgress
from .refusal import missing_outputs, unknown_classes
from .rows import Rows
from .runner import Failed, Runner
from .server import Server
from .trial import Trial
from .wiring import BACKEND, DIAGNOSTICS, Wiring, wire

NOTHING_KEPT = "The server kept nothing from run to run (see --cache-none), so whole times include all loading."


class Reuse:
    """One run without is no sign: the first may find an empty cache anywhere, a later one a cache that was just emptied."""

    def __init__(self) -> None:
        self._found: list[bool] = []

    def add(self, trial: Trial) -> None:
        self._found.append(bool(trial.cached))

    def notes(self) -> list[str]:
        later = self._found[1:]
        return [NOTHING_KEPT] if later and not any(later) else []


INSTALL = "put the folder of wanattn into its custom_nodes and restart it"
NOTES = (
    "The first run of each setting is apart: models load in it, plans are built, and auto measures its choice.",
    "Every run saved on the server what the workflow saves; the workflow itself was not changed.",
)


@dataclass
class Stage:
    """One clip and the settings that still run in it."""

    frames: int | None
    wiring: Wiring
    rows: Rows
    settings: list[str]


async def measure(plan: Plan, results: Results, progress: Progress) -> None:
    """Fill the rows as the runs end. Raises ValueError and RuntimeError with a sentence."""
    async with Server(plan.url) as server:
        known = results.environment
        results.environment = {
            "started": known.get("started"),
            "workflow": f"{plan.workflow} ({digest(plan.prompt, plan.replaced)})",
            **machine.facts(await server.read("system_stats", answers.stats)),
        }
        catalogue = Catalogue(await server.read("object_info", answers.classes))
        check(plan, catalogue)
        stages = [stage(plan, frames, catalogue, results) for frames in plan.frames]
        results.baseline = plan.baseline
        results.notes += [*NOTES, *stages[0].wiring.notes]
        await server.listen()
        await _Bench(plan, results, progress, server, catalogue).run(stages)


def check(plan: Plan, catalogue: Catalogue) -> None:
    """That the server can run the workflow with our nodes. Raises ValueError or RuntimeError."""
    if BACKEND not in catalogue or DIAGNOSTICS not in catalogue:
        raise RuntimeError(f"the server has no Attention Backend: {INSTALL}")
    for wrong in (unknown_classes, missing_outputs):  # the outputs of known classes only
        if sentence := wrong(plan.prompt, catalogue):
            raise ValueError(sentence)
    offered = catalogue.choices(BACKEND, "backend")
    unknown = [name for name in plan.backends if name not in offered]
    if unknown:
        names = answers.said(", ".join(map(str, offered)))
        raise ValueError(f"--backends {answers.said(', '.join(unknown))}, needs some of {names}")


def stage(plan: Plan, frames: int | None, catalogue: Catalogue, results: Results) -> Stage:
    graph = prompt.with_clip(plan.prompt, frames, plan.size)
    results.notes += prompt.overruled(plan.prompt, graph)
    wiring = wire(graph, catalogue)
    labels = dict(zip(plan.backends, plan.labels, strict=True))
    rows = Rows(results, plan.workflow, graph, wiring.samplers, labels)
    return Stage(frames, wiring, rows, list(plan.backends))


class _Bench:
    def __init__(
        self, plan: Plan, results: Results, progress: Progress, server: Server, catalogue: Catalogue
    ) -> None:
        self._plan, self._results, self._progress = plan, results, progress
        self._shown = RunProgress(progress)
        self._runner = Runner(server, catalogue, plan, self._tell)
        self._reuse = Reuse()
        self._token = uuid.uuid4().hex[:8]
        self._count = 0

    async def run(self, stages: list[Stage]) -> None:
        runs = self._plan.repeat + 1
        self._progress.begin(sum(len(one.settings) * runs * _weight(one) for one in stages))
        try:
            failures = [said for one in stages for said in await self._stage(one, runs)]
        finally:
            self._results.notes += self._reuse.notes()
        if failures and not any(row.times for row in self._results.rows):
            raise RuntimeError(failures[-1])

    async def _stage(self, stage: Stage, runs: int) -> list[str]:
        failures: list[str] = []
        for number in range(runs):
            for backend in turns(stage.settings, max(number - 1, 0)):
                failures += await self._setting(stage, backend, number)
        return failures

    async def _setting(self, stage: Stage, backend: str, number: int) -> list[str]:
        """One run; gives why it failed, if it did."""
        doing = f"{backend} {stage.rows.name} {number + 1}/{self._plan.repeat + 1}"
        self._shown.begin(_weight(stage), doing, len(stage.wiring.samplers))
        self._count += 1
        try:
            trial = await self._runner.run(stage.wiring, backend, f"{self._token}-{self._count}")
        except Failed as error:
            stage.settings.remove(backend)
            stage.rows.fail(backend, str(error))
            self._shown.end(omitted=self._plan.repeat - number)
            return [str(error)]
        self._learn(trial)
        self._reuse.add(trial)
        stage.rows.add(backend, trial, number)
        self._shown.end()
        return []

    def _learn(self, trial: Trial) -> None:
        for payload in trial.payloads.values():
            told = payload.get("environment") or {}
            self._results.environment = machine.learn(self._results.environment, told)

    def _tell(self, trial: Trial) -> None:
        if trial.progress:
            self._shown.step(*trial.progress)


def _weight(stage: Stage) -> float:
    """Of a run's time. Attention alone grows faster with the frames, the rest of the model as they do."""
    return float(stage.frames or 1)
