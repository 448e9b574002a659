"""Keeps a node of the page up to date while something runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from server import PromptServer

SECONDS_BETWEEN_SHOWS = 0.2
# The page takes a node's text for HTML and drops what looks like a tag.
QUOTES = str.maketrans("<>", "\u2039\u203a")
log = logging.getLogger("wanattn")


class Display:
    """Sends what `content` gives, a payload and the node's text or none, at most 5 times a second and 1 % of the time."""

    def __init__(
        self, node: str | None, event: str, content: Callable[[], tuple[dict, str]]
    ) -> None:
        self._node = node
        self._event = event
        self._content = content
        self._next = 0.0

    def tick(self) -> None:
        """After every piece of work."""
        now = time.perf_counter()
        if now < self._next:
            return
        # Before the work, which other threads need not repeat.
        self._next = now + SECONDS_BETWEEN_SHOWS
        self.show()
        spent = time.perf_counter() - now
        self._next = now + max(SECONDS_BETWEEN_SHOWS, spent * 100)

    def show(self) -> None:
        server = getattr(PromptServer, "instance", None)
        if self._node is None or server is None:
            return
        try:
            payload, text = self._content()
            if text:
                server.send_progress_text(text.translate(QUOTES), self._node)
            server.send_sync(self._event, payload)
        except Exception:  # what is shown must not end because its display failed
            log.exception("node %s could not be brought up to date", self._node)
