"""A real ComfyUI server on the loopback interface, with its own models, outputs and custom nodes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .hosts import REPOSITORY

START_SECONDS = 180
RUN_SECONDS = 120
FAILURES = ("IMPORT FAILED", "Cannot import", "Error while calling comfy_entrypoint")


class Server:
    start_seconds, run_seconds = START_SECONDS, RUN_SECONDS

    def __init__(self, host: Path, base: Path, environment: Mapping[str, str] | None = None):
        self.host, self.base = host, base
        self._environment = environment or {}
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log_path = base / "server.log"
        self.output = base / "output"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for folder in ("input", "output", "user", "temp"):
            (self.base / folder).mkdir(exist_ok=True)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.base,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=quiet_environment() | self._environment,
            )
        wait_until(
            self._answers, self.start_seconds, lambda: f"no answer, log: {self.log()[-2000:]}"
        )

    def _command(self) -> list[str]:
        return [sys.executable, str(self.host / "main.py"), *self._arguments(str(self.base))]

    def _arguments(self, base: str) -> list[str]:
        """`base` as the server's own system names it."""
        options = ["--cpu", "--base-directory", base, "--listen", "127.0.0.1"]
        options += ["--port", str(self.port), "--disable-auto-launch", "--disable-api-nodes"]
        if page := os.environ.get("COMFYUI_PAGE"):  # an older host's own page, in a folder
            options += ["--front-end-root", page]
        return [*options, "--database-url", f"sqlite:///{base}/comfyui.db"]

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the server stopped, log: {self.log()[-2000:]}")
        try:
            return bool(self.get("/system_stats"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def failed_imports(self) -> list[str]:
        """Of custom nodes; the host's own may lack a package."""
        lines = self.log().replace("\\", "/").splitlines()
        ours = (line for line in lines if "custom_nodes/" in line)
        return [line for line in ours if any(failure in line for failure in FAILURES)]

    def get(self, path: str):
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def file(self, address: str) -> bytes:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.read()

    def post(self, path: str, body: dict) -> bytes:
        request = urllib.request.Request(
            f"http://{self.address}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(
                f"{path} answered {error.code}: {error.read().decode()}"
            ) from error

    def queue(self, graph: dict, client_id: str = "tests") -> str:
        extra = {"extra_pnginfo": {"workflow": {"nodes": []}}}
        body = {"prompt": graph, "client_id": client_id, "extra_data": extra}
        return json.loads(self.post("/prompt", body))["prompt_id"]

    def wait(self, prompt_id: str) -> dict:
        """The history of a prompt once it has ended, well or badly."""
        path = f"/history/{prompt_id}"
        wait_until(
            lambda: prompt_id in self.get(path), self.run_seconds, lambda: self.log()[-2000:]
        )
        return self.get(path)[prompt_id]

    def run(self, graph: dict, listener=None) -> dict:
        """Queues a graph and returns its outputs by node; fails when the prompt failed."""
        prompt_id = self.queue(graph)
        history = self.wait(prompt_id)
        if listener:
            listener.settle(prompt_id)
        assert history["status"]["status_str"] == "success", history["status"]["messages"]
        return history["outputs"]

    def files(self, prefix: str, suffix: str) -> list[Path]:
        return sorted(self.output.glob(f"{prefix}*{suffix}"))


def install_nodes(base: Path) -> None:
    """Puts the pack and the tests' own nodes where the server looks for custom nodes."""
    folder = base / "custom_nodes"
    folder.mkdir(parents=True)
    (folder / "wanattn").symlink_to(REPOSITORY, target_is_directory=True)
    for nodes in Path(__file__).with_name("pack").glob("*_nodes.py"):
        (folder / nodes.name).symlink_to(nodes)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def quiet_environment() -> dict[str, str]:
    one_thread = {"OMP_NUM_THREADS": "1"}  # the tensors here are tiny
    return {**os.environ, **one_thread, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds: float, explain) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s: {explain()}")
        time.sleep(0.1)
