"""The connection to a ComfyUI server."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from types import TracebackType

import aiohttp
from yarl import URL

ANSWER_SECONDS = 60
HERE = "start ComfyUI or give the address that its page has in the browser"


class Gap(Exception):
    """The websocket ended while something was awaited from it."""


class Server:
    """Requests, and the events that the server sends to this client. Every failure is a RuntimeError with a sentence."""

    def __init__(self, url: str) -> None:
        self._base = address(url)
        self.name = str(self._base.with_user(None).with_query(None)).rstrip("/")
        self.client_id = uuid.uuid4().hex
        self._events: asyncio.Queue[tuple[float, dict | None]] = asyncio.Queue()
        self._reader: asyncio.Task | None = None

    async def __aenter__(self) -> Server:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        return self

    async def __aexit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader:
            self._reader.cancel()
        await self._session.close()

    async def get(self, path: str) -> dict:
        status, answer = await self._ask("GET", path)
        if status != 200 or not isinstance(answer, dict):
            raise RuntimeError(self._stranger(path, status))
        return answer

    async def post(self, path: str, body: dict) -> tuple[int, object]:
        return await self._ask("POST", path, json=body)

    async def listen(self) -> None:
        """Receive events from now on; those of before are forgotten."""
        if self._reader:
            self._reader.cancel()
        self._events = asyncio.Queue()
        try:
            socket = await self._session.ws_connect(
                self._url("ws", clientId=self.client_id), max_msg_size=0
            )
        except aiohttp.WSServerHandshakeError as error:
            raise RuntimeError(self._stranger("ws", error.status)) from error
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise RuntimeError(self._absent(error)) from error
        self._reader = asyncio.create_task(_read(socket, self._events))

    async def event(self, seconds: float) -> tuple[float, dict] | None:
        """The next event and when it came; None if there is none in time. Raises Gap at the end of the connection."""
        try:
            moment, event = await asyncio.wait_for(self._events.get(), seconds)
        except asyncio.TimeoutError:
            return None
        if event is None:
            raise Gap
        return moment, event

    async def jobs(self) -> tuple[list[str], list[str]]:
        """The ids of what runs and of what waits."""
        queue = await self.get("queue")
        running, pending = queue.get("queue_running") or [], queue.get("queue_pending") or []
        return [item[1] for item in running], [item[1] for item in pending]

    async def withdraw(self, prompt_id: str) -> None:
        """Stop a run, or take it out of the queue; other people's are left alone."""
        running, pending = await self.jobs()
        if prompt_id in pending:
            await self.post("queue", {"delete": [prompt_id]})
            running, _ = await self.jobs()  # it may just have begun
        if prompt_id in running:
            await self.post("interrupt", {"prompt_id": prompt_id})

    async def _ask(self, method: str, path: str, **body) -> tuple[int, object]:
        try:
            async with self._session.request(method, self._url(path), **body) as answer:
                text = await answer.text(errors="replace")
                return answer.status, _parsed(text)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise RuntimeError(self._absent(error)) from error

    def _url(self, path: str, **query: str) -> URL:
        return (self._base / path).with_query({**self._base.query, **query})

    def _absent(self, error: Exception) -> str:
        if isinstance(error, asyncio.TimeoutError):
            return f"{self.name} gave no answer in {ANSWER_SECONDS} s: see whether ComfyUI is stuck there"
        if isinstance(error, aiohttp.ClientSSLError):
            return f"no secure connection to {self.name} ({_brief(error)}): try it with http:// instead"
        return f"no server at {self.name} ({_brief(error)}): {HERE}"

    def _stranger(self, path: str, status: int) -> str:
        if status in (401, 403):
            return (
                f"{self.name} lets nobody in without a password (status {status}): "
                "give it as http://USER:PASSWORD@HOST:PORT"
            )
        return f"{self.name} does not answer /{path} as ComfyUI does (status {status}): {HERE}"


async def _read(socket: aiohttp.ClientWebSocketResponse[bool], events: asyncio.Queue) -> None:
    """Stamps events as they come, however busy whoever takes them is. The last one is None."""
    try:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                moment, event = time.perf_counter(), _parsed(message.data)
                if isinstance(event, dict):
                    events.put_nowait((moment, event))
    finally:
        events.put_nowait((time.perf_counter(), None))
        await socket.close()


def address(text: str) -> URL:
    """Of a server as people write it: host:port, with or without http:// and a slash at the end."""
    given = re.sub(r"//[^/]*@", "//", text.strip())  # no password in sentences
    if not given:
        raise ValueError(
            "the address of the server is empty, needs one such as http://127.0.0.1:8188"
        )
    try:
        url = URL(text.strip() if "://" in text else f"http://{text.strip()}")
        port = url.port
    except ValueError as error:
        raise ValueError(
            f"the address '{given}' is none ({error}), needs http://HOST:PORT"
        ) from None
    if url.scheme not in ("http", "https"):
        raise ValueError(
            f"the address '{given}' begins with {url.scheme}://, needs http:// or https://"
        )
    if not url.host or port is None:
        raise ValueError(f"the address '{given}' names no host, needs http://HOST:PORT")
    return url.with_path(url.path.rstrip("/") + "/").with_query(url.query)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _brief(error: Exception) -> str:
    reason = getattr(error, "os_error", None) or error
    text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    return " ".join(str(text).split())
