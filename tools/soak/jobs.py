"""One prompt on a server, with everything that can be checked about it afterwards."""

from __future__ import annotations

import csv
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.host.graph import Graph
from tests.host.server import Server, wait_until

CALLS_A_FORWARD = 4  # of the tiny model: two blocks, self and text
SUFFIXES = (".json", ".csv", ".html")
KNOWN = ("flash", "math", "host")  # what a CPU has; the others must fall back, and say so


@dataclass
class Job:
    """`backend` as a user sets it, `fault` and `beside` as SoakWatch knows them."""

    key: str
    backend: str = "flash"
    fault: str = ""
    beside: str = ""
    every: int = 1
    proof: str = "sample"
    sampling: dict = field(default_factory=dict)

    def graph(self) -> Graph:
        graph = Graph()
        model = graph.backend(graph.load("high_noise"), self.backend)
        model = graph.diagnostics(model)
        graph[model[0]]["inputs"]["evidence"] = self.proof
        told = {"key": self.key, "fault": self.fault, "beside": self.beside, "every": self.every}
        watched = graph.add("SoakWatch", model=model, **told)
        latent = graph.sample(watched, graph.latent(), **self.sampling)
        latent = graph.report(watched, latent, f"soak/{self.key}/report")
        graph.save(latent, f"soak/{self.key}/latent")
        return graph


def drawn(chance: random.Random, key: str, **given) -> Job:
    """A prompt as users make them."""
    sampling = {
        "noise_seed": chance.randrange(2**32),
        "steps": chance.randint(1, 4),
        "cfg": chance.choice((1.0, 2.0, 5.0)),
        "sampler_name": chance.choice(("euler", "heun", "dpmpp_2m", "uni_pc", "res_multistep")),
        "scheduler": chance.choice(("simple", "normal", "beta")),
    }
    backend = chance.choice(("flash", "math", "host", "efficient", "cudnn", "auto"))
    return Job(**{"key": key, "backend": backend, "sampling": sampling, **given})


def run(server: Server, job: Job) -> dict:
    """Queues a job and waits for its end; the server's record of it."""
    return server.wait(server.queue(job.graph()))


def interrupted(server: Server, job: Job, moment: float) -> dict:
    """Lets a job begin and stops it after so many seconds."""
    prompt_id = server.queue(job.graph())
    wait_until(lambda: _running(server, prompt_id), 60, server.log)
    time.sleep(moment)
    server.post("/interrupt", {"prompt_id": prompt_id})
    return server.wait(prompt_id)


def _running(server: Server, prompt_id: str) -> bool:
    running = server.get("/queue")["queue_running"]
    if not any(item[1] == prompt_id for item in running) and prompt_id in server.get("/history"):
        raise RuntimeError("the run was over before it could be interrupted")
    return any(item[1] == prompt_id for item in running)


class Lost(Exception):
    """A file that should be there is not, or is not whole."""


def report_of(server: Server, job: Job) -> dict:
    stem = server.output / "soak" / job.key / "report_00001"
    for suffix in SUFFIXES:
        path = Path(f"{stem}{suffix}")
        if not path.is_file() or not path.stat().st_size:
            raise Lost(f"no {path.name} of {job.key}")
    try:
        with Path(f"{stem}.csv").open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        payload = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise Lost(f"a file of {job.key} is not whole ({error})") from error
    return {**payload, "lines": len(lines)}


def counted(server: Server, job: Job) -> dict:
    path = server.output / "soak" / f"{job.key}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def checked(server: Server, job: Job, record: dict, ends: str = "success") -> tuple[list[str], int]:
    """Sentences for what is wrong with a job, and how many calls were counted."""
    wrong = []
    if record["status"]["status_str"] != ends:
        wrong.append(
            f"ended as {record['status']['status_str']}: {record['status']['messages'][-1]}"
        )
    try:
        payload, truth = report_of(server, job), counted(server, job)
    except (Lost, OSError) as error:
        return [*wrong, f"lost file: {error}"], 0
    wrong += _lies(job, payload, truth, whole=ends == "success")
    wrong += _wrong_backend(job, payload)
    if ends == "success" and not server.files(f"soak/{job.key}/latent", ".latent"):
        wrong.append(f"lost file: no latent of {job.key}")
    return wrong, sum(truth["kernels"].values())


def _lies(job: Job, payload: dict, truth: dict, whole: bool) -> list[str]:
    told, ran = payload["totals"], truth["kernels"]
    wrong = []
    if payload["calls"] != payload["lines"]:
        wrong.append(f"lie: {payload['calls']} calls, the file has {payload['lines']} lines")
    if whole and payload["calls"] != truth["forwards"] * CALLS_A_FORWARD:
        wrong.append(f"lie: {payload['calls']} calls told of {truth['forwards']} forwards")
    if job.backend == "auto":  # what it measures runs more than the model asks for
        return wrong
    if job.fault == "another kernel" and job.proof != "every call":
        return wrong  # nobody looked
    if told != ran:
        wrong.append(f"lie: told {told}, ran {ran} ({job})")
    return wrong


def _wrong_backend(job: Job, payload: dict) -> list[str]:
    """A backend that is there and not broken has to run all calls; else each call has its reason."""
    told = payload["totals"]
    if job.backend in KNOWN[:2] and not job.fault:
        return [] if set(told) <= {job.backend} else [f"wrong backend: {job.backend} gave {told}"]
    others = sum(calls for name, calls in told.items() if name != job.backend)
    explained = sum(entry["calls"] for entry in payload["fallbacks"])
    if job.backend in ("host", "auto") or explained >= others:
        return []
    return [f"silent fallback: {others} calls of {job.backend} elsewhere, {explained} explained"]
