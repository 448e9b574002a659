"""What the server tells a page while a prompt runs: a websocket client on its own thread."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from typing import NamedTuple

from .server import wait_until

TEXT_EVENT = 3
ENDS = ("execution_success", "execution_error", "execution_interrupted")


class NodeText(NamedTuple):
    node: str
    text: str


class Listener:
    """Collects the events of one client; `texts` are the lines shown on nodes."""

    def __init__(self, address: str, client_id: str):
        self._url = f"http://{address}/ws?clientId={client_id}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),))
        self._ready = threading.Event()
        self._closing = asyncio.Event()
        self.texts: list[NodeText] = []
        self.events: list[dict] = []

    def __enter__(self) -> Listener:
        self._thread.start()
        assert self._ready.wait(30), "no websocket"
        return self

    def __exit__(self, *_) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(30)

    async def _main(self) -> None:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.ws_connect(self._url) as socket:
            self._ready.set()
            reading = asyncio.ensure_future(self._read(socket))
            await self._closing.wait()
            reading.cancel()

    async def _read(self, socket) -> None:
        async for message in socket:
            if isinstance(message.data, bytes):
                self._binary(message.data)
            else:
                self.events.append(json.loads(message.data))

    def _binary(self, payload: bytes) -> None:
        kind, size = struct.unpack(">II", payload[:8])
        if kind == TEXT_EVENT:
            node = payload[8 : 8 + size].decode()
            self.texts.append(NodeText(node, payload[8 + size :].decode()))

    def settle(self, prompt_id: str) -> None:
        """Wait for the end of a prompt; everything that was sent before it has arrived by then."""
        wait_until(lambda: prompt_id in self._ended(), 30, lambda: f"no end in {self.events[-5:]}")

    def _ended(self) -> set[str]:
        return {event["data"]["prompt_id"] for event in self.events if event["type"] in ENDS}

    def steps(self, node: str) -> int:
        """How far the sampler in this node has told the page it is."""
        progress = [event["data"] for event in self.events if event["type"] == "progress"]
        return max((step["value"] for step in progress if step["node"] == node), default=0)

    def texts_on(self, node: str) -> list[str]:
        return [line.text for line in self.texts if line.node == node]
