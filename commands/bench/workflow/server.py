"""The connection to a ComfyUI server."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from . import answers

ANSWER_SECONDS = 60
MOST_EVENTS = 10_000  # that wait to be read; then the server waits
MOST_EVENT_BYTES = 2**26
HERE = "start ComfyUI or give the address that its page has in the browser"
REDIRECTS = range(300, 400)
FAILURES = (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, LookupError)
T = TypeVar("T")


class Gap(Exception):
    """The websocket ended while something was awaited from it."""


class Server:
    """Requests, and the events that the server sends to this client. Every failure is a RuntimeError with a sentence."""

    def __init__(self, url: str) -> None:
        self._base = address(url)
        self.name = str(self._base.with_user(None).with_query(None)).rstrip("/")
        self.client_id = uuid.uuid4().hex
        self._events: asyncio.Queue[tuple[float, dict | None]] = asyncio.Queue(MOST_EVENTS)
        self._reader: asyncio.Task | None = None

    async def __aenter__(self) -> Server:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, trace_configs=[_no_redirects()])
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
        self._events = asyncio.Queue(MOST_EVENTS)
        try:
            socket = await self._session.ws_connect(
                self._url("ws", clientId=self.client_id), max_msg_size=MOST_EVENT_BYTES
            )
        except Redirected as error:
            raise RuntimeError(self._sends_on("ws", error.status)) from None
        except aiohttp.WSServerHandshakeError as error:
            raise RuntimeError(self._stranger("ws", error.status)) from error
        except FAILURES as error:
            raise RuntimeError(self._absent(error)) from None
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
        return await self.read("queue", answers.jobs)

    async def read(self, path: str, of: Callable[[Mapping], T]) -> T:
        """An answer by what it means. Raises RuntimeError where no ComfyUI answers so."""
        return self.sense(path, of, await self.get(path))

    def sense(self, path: str, of: Callable[[Any], T], answer: object) -> T:
        try:
            return of(answer)
        except answers.Odd as error:
            raise RuntimeError(self._odd(path, error)) from None

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
            async with self._session.request(
                method, self._url(path), allow_redirects=False, **body
            ) as answer:
                if answer.status in REDIRECTS:
                    raise RuntimeError(self._sends_on(path, answer.status))
                return answer.status, answers.parsed(await _whole(answer))
        except answers.Odd as error:
            raise RuntimeError(self._odd(path, error)) from None
        except FAILURES as error:  # its own words may hold the address, with its password
            raise RuntimeError(self._absent(error)) from None

    def _url(self, path: str, **query: str) -> URL:
        return (self._base / path).with_query({**self._base.query, **query})

    def _absent(self, error: Exception) -> str:
        if isinstance(error, asyncio.TimeoutError):
            return f"{self.name} gave no answer in {ANSWER_SECONDS} s: see whether ComfyUI is stuck there"
        if isinstance(error, aiohttp.ClientSSLError):
            return f"no secure connection to {self.name} ({_brief(error)}): try it with http:// instead"
        return f"no server at {self.name} ({_brief(error)}): {HERE}"

    def _odd(self, path: str, error: Exception) -> str:
        return f"{self.name} does not answer /{path} as ComfyUI does ({error}): {HERE}"

    def _sends_on(self, path: str, status: int) -> str:
        return (
            f"{self.name} sends /{path} on to another address (status {status}), and no workflow is sent there: "
            "give the address that ComfyUI's page has in the browser in the end"
        )

    def _stranger(self, path: str, status: int) -> str:
        if status in (401, 403):
            return (
                f"{self.name} lets nobody in without a password (status {status}): "
                "give it as http://USER:PASSWORD@HOST:PORT"
            )
        return f"{self.name} does not answer /{path} as ComfyUI does (status {status}): {HERE}"


class Redirected(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _no_redirects() -> aiohttp.TraceConfig:
    """A websocket's first request follows them by itself, and shows whoever is there the client's id."""

    async def refuse(session, context, parameters) -> None:
        raise Redirected(parameters.response.status)

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """Also of one that was packed small. Raises Odd for more than any ComfyUI has to say."""
    content = bytearray()
    async for part in answer.content.iter_chunked(2**16):
        content += part
        if len(content) > answers.MOST_BYTES:
            raise answers.Odd(f"more than {answers.MOST_BYTES // 2**20} MiB")
    return bytes(content)


async def _read(socket: aiohttp.ClientWebSocketResponse[bool], events: asyncio.Queue) -> None:
    """Stamps events as they come, however busy whoever takes them is. The last one is None."""
    try:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT and (event := _event(message.data)):
                await events.put((time.perf_counter(), event))
    finally:
        if events.full():
            events.get_nowait()
        events.put_nowait((time.perf_counter(), None))
        await socket.close()


def _event(text: str) -> dict | None:
    try:
        return answers.event(answers.parsed(text))
    except answers.Odd:
        return None


def address(text: str) -> URL:
    """Of a server as people write it: host:port, with or without http:// and a slash at the end."""
    given = answers.said(re.sub(r"^([a-z]+://)?.*@", r"\1", text.strip(), flags=re.I | re.S))
    if not text.strip():
        raise ValueError(
            "the address of the server is empty, needs one such as http://127.0.0.1:8188"
        )
    try:
        url = URL(text.strip() if "://" in text else f"http://{text.strip()}")
        port, host = url.port, url.host
    except ValueError:  # its words may hold the password
        raise ValueError(f"the address '{given}' is none, needs http://HOST:PORT") from None
    if url.scheme not in ("http", "https"):
        raise ValueError(
            f"the address '{given}' begins with {url.scheme}://, needs http:// or https://"
        )
    if not host or port is None:
        raise ValueError(f"the address '{given}' names no host, needs http://HOST:PORT")
    return url.with_path(url.path.rstrip("/") + "/").with_query(url.query)


def _brief(error: Exception) -> str:
    reason = getattr(error, "os_error", None) or error
    text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    return answers.said(text)
