"""The way back to a client: piece by piece, each within its time, so that nobody who stops reading holds an answer.

    deliver(request, response)   an answer in one piece, in slices
    Out(request, response)       a stream: events that are whole go out, the one with [DONE] is held back for its row

A write that stands still for 30 s ends the connection. The bytes themselves are never changed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_writer import StreamWriter

__all__ = ["Out", "Streamed", "Whole", "deliver"]

STALLED = 30.0  # seconds a client may leave a write standing
SLICE = 128 << 10  # bytes of one write
HELD = 256 << 10  # bytes of an event that is not whole; a longer one is passed on in pieces
END = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\][ \t]*(?:[\r\n]|$)")  # a line of its own: a text may hold the words
FINISH = re.compile(rb'"finish_reason"\s*:\s*"')  # inside a text its quotes would be escaped
GAPS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r")  # between events (WHATWG HTML, 9.2: a line ends in CRLF, LF or CR)


class _AsItCame(web.StreamResponse):
    """aiohttp writes headers as UTF-8 and drops what is none; an upstream's header goes back in its own bytes."""

    async def _write_headers(self) -> None:
        self._send_headers_immediately = False
        await super()._write_headers()
        writer, request = self._payload_writer, self._req
        assert isinstance(writer, StreamWriter)
        assert request is not None
        lines = [f"HTTP/{request.version[0]}.{request.version[1]} {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        writer._headers_buf = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


class Whole(_AsItCame, web.Response):
    """An answer in one piece, with an upstream's headers."""


class Streamed(_AsItCame):
    """A stream, with an upstream's headers."""


async def deliver(request: web.BaseRequest, response: web.Response) -> None:
    """Send a whole answer. Raises ConnectionError where the client is gone or has stopped reading."""
    out = Out(request, response)
    body = response.body
    if isinstance(body, bytes | bytearray) and len(body) > SLICE:
        await out.write(bytes(body))
    await out.end()


class Out:
    """Begins with the first bytes, so that an early failure can still be a clean status."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self.response = response
        self.begun = False
        self.held = b""
        self.torn = False  # whether an event too long to hold was begun
        self._finish = False
        self._tail = b""
        self._request = request

    @property
    def ended(self) -> bool:
        """Whether a stream has said that it ends: [DONE], or a reason why it finished."""
        return self._finish or bool(END.search(self.held) or FINISH.search(self._tail + self.held))

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError where the client is gone or has stopped reading."""
        for at in range(0, len(data), SLICE):
            async with self._moving():
                await self._begin()
                await self.response.write(data[at : at + SLICE])

    async def events(self, chunk: bytes) -> bytes:
        """Send the events that are whole, hold the rest. Returns the piece with [DONE], which is not sent yet."""
        data = (self.held + chunk) if self.held else chunk
        end = max((at + len(gap) for gap in GAPS if (at := data.rfind(gap)) >= 0), default=0)
        ready, self.held = data[:end], data[end:]
        if END.search(ready):
            self._finish = True
            return ready
        if len(self.held) > HELD:
            ready, self.held, self.torn = data, b"", True
        self._tail += ready
        self._finish = self._finish or bool(FINISH.search(self._tail))
        self._tail = self._tail[-64:]
        await self.write(ready)
        return b""

    async def end(self) -> None:
        """Returns when the operating system has every byte; raises ConnectionError."""
        async with self._moving():
            await self._begin()
            if isinstance(self.response, web.Response) and len(self._body()) > SLICE:
                await web.StreamResponse.write_eof(self.response)  # the body has gone out in slices
            else:
                await self.response.write_eof()

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    def _body(self) -> bytes | bytearray:
        body = self.response.body if isinstance(self.response, web.Response) else b""
        return body if isinstance(body, bytes | bytearray) else b""

    async def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            await self.response.prepare(self._request)

    @asynccontextmanager
    async def _moving(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(STALLED):
                yield
        except TimeoutError:
            self.abort()
            raise ConnectionResetError("the client has stopped reading") from None
