"""One connection to another host, and the answer that comes over it.

An answer ends where its framing says so: at its length, at the last chunk, or, where it has neither, where the other
host closes. A connection that ends before that leaves an answer that is broken, never a short one.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import httptools

from freehold.http.head import name_of

__all__ = ["Answer", "AskFailed", "Origin", "Peer"]

HEAD = 32 << 10  # bytes of an answer's headers
AHEAD = 256 << 10  # bytes of an answer that are read before its reader takes them
NEVER = float("inf")
Origin = tuple[str, int, bool]  # host, port, TLS


class AskFailed(Exception):
    """`kind`: unreachable (no answer began; `word` is what happened), timeout, or interrupted (it broke off)."""

    def __init__(self, kind: str, word: str = "") -> None:
        super().__init__(f"{kind}: {word}" if word else kind)
        self.kind = kind
        self.word = word


class Keeper(Protocol):
    """The client, as its connections see it."""

    loop: asyncio.AbstractEventLoop
    waits: set[Answer]

    def waiting(self, answer: Answer) -> None: ...

    def keep(self, peer: Peer) -> None: ...

    def forget(self, peer: Peer) -> None: ...


class Answer:
    """What another host answers. `raw` are its headers as sent; `framed`: it tells its end other than by closing.

    Each wait has until `until` (monotonic seconds) at first, and `between` seconds after that; none goes past `end`.
    """

    __slots__ = (
        "_client", "_peer", "_size", "_waiter", "began", "between", "chunks", "due", "end", "failed", "framed", "got",
        "headed", "raw", "status", "until", "whole",
    )  # fmt: skip

    def __init__(self, client: Keeper, peer: Peer, until: float, between: float, end: float) -> None:
        self._client = client
        self._peer: Peer | None = peer
        self.until = until
        self.between = between
        self.end = end
        self.due = NEVER  # while somebody waits
        self.status = 0
        self.raw: list[tuple[bytes, bytes]] = []
        self.framed = True
        self.got = 0  # bytes, of whatever
        self.headed = self.whole = self.began = False
        self.failed: AskFailed | None = None
        self.chunks: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises AskFailed."""
        while not self.chunks:
            if self.failed is not None:
                raise self.failed
            if self.whole:
                return b""
            await self.wait()
        found = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks = []
        self._size = 0
        self.began = True
        if self._peer is not None:
            self._peer.go_on()
        return found

    async def wait(self) -> None:
        """Until something has come."""
        loop = self._client.loop
        due = loop.time() + self.between if self.began else self.until
        self.due = min(due, self.end)
        self._waiter = loop.create_future()
        self._client.waiting(self)
        try:
            await self._waiter
        finally:
            self.due, self._waiter = NEVER, None
            self._client.waits.discard(self)

    def close(self) -> None:
        """Let it go: where it is not whole, the connection ends at once, and with it the request."""
        if self._peer is not None:
            self._peer.abort()
            self._peer = None

    # what the connection tells

    def takes(self, data: bytes) -> bool:
        """Keep bytes; says whether that is enough for now."""
        self.chunks.append(data)
        self._size += len(data)
        return self._size > AHEAD

    def fail(self, kind: str, word: str = "") -> None:
        if not self.whole and self.failed is None:
            self.failed = AskFailed(kind, word)
        self._peer = None
        self.wake()

    def ends(self) -> None:
        self.whole = True
        self._peer = None

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Peer(asyncio.Protocol):
    """A connection. `answer` is the one under way, None while it waits to be used again."""

    def __init__(self, client: Keeper, origin: Origin) -> None:
        self._client = client
        self.origin = origin
        self.answer: Answer | None = None
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._held = False
        self._only_head = False
        self._head = 0

    def ask(self, data: bytes, answer: Answer, only_head: bool = False) -> None:
        """Send a request. Only one at a time."""
        assert self._transport is not None
        self.answer, self._head, self._only_head = answer, 0, only_head
        self._transport.write(data)

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def go_on(self) -> None:
        if self._held and self._transport is not None and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()

    # what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass of asyncio.Transport

    def data_received(self, data: bytes) -> None:
        answer = self.answer
        if answer is None:  # nobody has asked
            self._client.forget(self)
            self.abort()
            return
        answer.got += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._breaks("interrupted" if answer.headed else "unreachable", "BadAnswer")
            return
        if not answer.headed:
            self._head += len(data)
            if self._head > HEAD:
                self._breaks("unreachable", "HeadersTooLarge")
        else:
            answer.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        answer, self.answer = self.answer, None
        self._client.forget(self)
        if answer is None:
            return
        if answer.headed and not answer.framed and exc is None:
            answer.ends()
            answer.wake()
        elif answer.headed:
            answer.fail("interrupted")
        else:
            answer.fail("unreachable", "Disconnected")

    def _breaks(self, kind: str, word: str) -> None:
        answer, self.answer = self.answer, None
        self._client.forget(self)
        self.abort()
        if answer is not None:
            answer.fail(kind, word)

    # what llhttp tells

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.answer is None:
            raise ValueError("more than was asked for")
        if not self.answer.headed:
            self.answer.raw.append((name, value))

    def on_headers_complete(self) -> None:
        answer = self.answer
        if answer is None:
            raise ValueError("more than was asked for")
        status = self._parser.get_status_code()
        if status < 200:  # not the answer yet
            answer.raw.clear()
            return
        names = {name_of(name) for name, _ in answer.raw}
        if sum(len(name) + len(value) + 4 for name, value in answer.raw) > HEAD:
            raise ValueError("headers too large")
        answer.status = status
        answer.framed = (
            "content-length" in names or "transfer-encoding" in names or status in (204, 304) or self._only_head
        )
        answer.headed = True
        if self._only_head:
            self.answer = None
            answer.ends()
            self.abort()

    def on_body(self, data: bytes) -> None:
        if self.answer is not None and self.answer.takes(data) and not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        answer = self.answer
        if answer is None or not answer.headed:
            return
        self.answer = None
        answer.ends()
        answer.wake()
        if self._parser.should_keep_alive() and self.open:
            self.go_on()
            self._client.keep(self)
        else:
            self.abort()
