"""A real server on the loopback interface that answers as ComfyUI does, but for one answer at a time."""

from __future__ import annotations

import json
import random

from aiohttp import web
from wanattn.tests.commands.bench.workflow.flows import CLASSES

PASSWORD = "geheim"
NESTED = "[" * 5000 + "]" * 5000
VALUES = (
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    "",
    "x" * 5000,
    "\ud800",
    "\x00",
    [],
    {},
    [[]],
    [1],
    {"a": []},
)
BODIES = (
    b"",
    b"null",
    b"[]",
    b"17",
    b'"text"',
    b"{",
    b"\xff\xfe{\x00}\x00",
    b"<html>not found</html>",
    b'{"a": NaN, "b": Infinity, "c": 1e999}',
    b"1" * 6000,
    NESTED.encode(),
    b'{"queue_running": ' + NESTED.encode() + b"}",
    b" " * 300_000,
)
CLASSES_SAID = json.dumps(CLASSES.classes).encode()
STATUSES = (200, 204, 301, 307, 308, 400, 401, 404, 418, 500, 503)
PLACES = ("system_stats", "object_info", "queue", "prompt", "history", "event", "event", "event")


class OddServer:
    """`odd` decides what is wrong with the answers of one place until it is set again."""

    def __init__(self) -> None:
        self.chance = random.Random(0)
        self.place = ""
        self.elsewhere: list[str] = []  # what came where it was sent on to
        self._socket: web.WebSocketResponse | None = None
        self._prompt_id, self._watcher = "", ""

    async def __aenter__(self) -> OddServer:
        app = web.Application()
        app.router.add_get("/ws", self._listen)
        app.router.add_route("*", "/elsewhere", self._stray)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://me:{PASSWORD}@127.0.0.1:{port}"
        return self

    async def __aexit__(self, *error) -> None:
        await self._runner.cleanup()

    def odd(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.place = self.chance.choice(PLACES)

    async def _stray(self, request: web.Request) -> web.Response:
        self.elsewhere.append(request.method)
        return web.json_response({})

    async def _answer(self, request: web.Request) -> web.Response:
        place = request.path.strip("/").partition("/")[0]
        body = await request.json() if request.method == "POST" else None
        said = self._said(place, body)
        content = CLASSES_SAID if place == "object_info" else json.dumps(said).encode()
        if place == "prompt":
            await self._run()
        return self._spoiled(content) if place == self.place else _plain(content)

    def _said(self, place: str, body: dict | None) -> object:
        if place == "prompt" and body:
            self._prompt_id = body["prompt_id"]
            nodes = body["prompt"].items()
            self._watcher = next(
                key for key, node in nodes if node["class_type"] == "WanAttnDiagnostics"
            )
            return {"prompt_id": self._prompt_id, "number": 1, "node_errors": {}}
        return {
            "system_stats": {
                "system": {"comfyui_version": "0.33.0", "os": "posix"},
                "devices": [
                    {"type": "cuda", "index": 0, "name": "cuda:0 H100", "vram_total": 8e10}
                ],
            },
            "queue": {"queue_running": [], "queue_pending": []},
            "history": {self._prompt_id: {"status": self._status()}},
        }.get(place, {})

    def _status(self) -> dict:
        named = {"prompt_id": self._prompt_id}
        stamps = {"execution_start": 1000, "execution_cached": 1001, "execution_success": 3000}
        messages = [[kind, {**named, "timestamp": at, "nodes": []}] for kind, at in stamps.items()]
        return {"status_str": "success", "completed": True, "messages": messages}

    def _spoiled(self, content: bytes) -> web.Response:
        how = self.chance.random()
        if how < 0.6:
            changed = json.dumps(mutated(self.chance, json.loads(content))).encode()
            return _plain(changed)
        if how < 0.7:
            return _plain(content[: self.chance.randrange(len(content))])
        status = self.chance.choice(STATUSES)
        body = self.chance.choice((content, *BODIES))
        charset = self.chance.choice(("utf-8", "utf-16", "no-such-charset", "rot13"))
        headers = {"Content-Type": f"application/json; charset={charset}"}
        if 300 <= status < 400:
            headers["Location"] = "/elsewhere"
        if self.chance.random() < 0.2:
            headers["Content-Encoding"] = "gzip"  # which it is not
        return web.Response(body=b"" if status == 204 else body, status=status, headers=headers)

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        self._socket = web.WebSocketResponse()
        await self._socket.prepare(request)
        async for _ in self._socket:
            pass
        return self._socket

    async def _run(self) -> None:
        """What a run would send, with one event of it changed."""
        events = self._events()
        spoiled = self.chance.randrange(len(events)) if self.place == "event" else -1
        for number, event in enumerate(events):
            text = json.dumps(event)
            if number == spoiled:
                text = self._changed(event)
            if self._socket is not None and not self._socket.closed:
                await self._socket.send_str(text.encode("utf-8", "replace").decode())

    def _changed(self, event: dict) -> str:
        if self.chance.random() < 0.8:
            return json.dumps(mutated(self.chance, event))
        return self.chance.choice(BODIES).decode("utf-8", "replace")

    def _events(self) -> list[dict]:
        report = {
            "node": self._watcher,
            "model": {"class": "WAN21", "wan": True},
            "environment": {"gpu": "H100", "torch": "2.11"},
            "totals": {"flash": 8},
            "runs": [{"run": 1, "peak_gib": 3.5}],
        }
        own = [
            ("execution_start", {}),
            ("execution_cached", {"nodes": ["1"]}),
            ("executing", {"node": "4"}),
            ("progress", {"value": 1, "max": 2, "node": "4"}),
            ("executing", {"node": None}),
            ("execution_success", {}),
        ]
        told = [
            {"type": kind, "data": {"prompt_id": self._prompt_id, **facts}} for kind, facts in own
        ]
        return [*told[:4], {"type": "wanattn.update", "data": report}, *told[4:]]


def _plain(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="application/json")


def mutated(chance: random.Random, value: object) -> object:
    """The value itself, with one part of it replaced or taken out."""
    parts = list(_parts(value))
    if not parts:
        return chance.choice(VALUES)
    holder, key = chance.choice(parts)
    if chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    return value


def _parts(value):
    keys = (
        value.keys()
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    for key in keys:
        yield value, key
        yield from _parts(value[key])
