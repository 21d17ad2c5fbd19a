"""One client's connection: requests in, answers out, in order.

    head ──→ body ──→ handler ──→ answer ──→ head ...
    10 s     30 s +   cancelled where the client goes away      idle 60 s

Only one request is parsed at a time. What comes early is kept, up to EARLY bytes, and then not read any more.
A connection that is not read from doesn't tell when its client goes: the server's timer asks the system.
A head is checked for what two parsers could read differently before llhttp reads it.
"""

from __future__ import annotations

import asyncio
import select
import socket

import httptools

from freehold.http.body import Body
from freehold.http.checks import METHODS, BadHead, read_head
from freehold.http.head import EMPTY, Headers, Pairs, answer_head, decode
from freehold.http.limits import House
from freehold.http.request import Request, Response

__all__ = ["Connection"]

EARLY = 64 << 10  # bytes of further requests that are kept while one runs
SLICE = 128 << 10  # bytes of one write
SYSTEM = 128 << 10  # bytes of an answer that the system keeps for a reader
LINGER = 1.0  # seconds in which a client may still send what we don't read, before its connection is reset
NEVER = float("inf")
NO_BODY = Body(0, 0)
UNREADABLE = "This is not a request that can be read."


class Connection(asyncio.Protocol):
    """`due` is when the server's timer does something about it (monotonic seconds), `waits` for what it waits: head,
    body, idle or linger, or "" while an answer is made."""

    def __init__(self, server: House) -> None:
        self._server = server
        self._loop = server.loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self.address = ""
        self.waits = "head"
        self.since = self._loop.time()
        self.due = self.since + server.limits.header_seconds
        self._buffer = b""  # of a head that is not whole, or of further requests
        self._held = False  # whether reading is paused
        # the request
        self._pairs: list[tuple[bytes, bytes]] = []
        self._target = b""
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._body = NO_BODY
        self._reader: asyncio.Future[None] | None = None
        # the answer
        self._begun = self._ended = self._chunked = self._bodiless = False
        self._close = False
        self._blocked = False  # the client is slower than we are
        self._writer: asyncio.Future[None] | None = None
        self._sent = self._flushed = 0
        self._moved = self.since

    # what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass of asyncio.Transport
        address = transport.get_extra_info("peername")
        self.address = address[0] if isinstance(address, tuple) else ""
        assert self._transport is not None
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:  # else the system takes megabytes for who doesn't read
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM)
        self._transport.set_write_buffer_limits(self._server.limits.buffer_kib << 10)
        self._server.admit(self)

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            if self.waits != "linger":
                self._head(data)
        elif not self._body.whole and self._body.bad is None:
            self._feed(data)
        elif self._body.bad is None:
            self._buffer += data
            if len(self._buffer) > EARLY:
                self._hold()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._transport = None
        self.due = NEVER
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    # a head

    def _head(self, data: bytes) -> None:
        """Bytes where a request begins, or goes on before its head is whole."""
        seen = len(self._buffer)
        if seen:
            data = self._buffer + data
        if data[:1] in b"\r\n":
            data, seen = data.lstrip(b"\r\n"), 0  # empty lines begin no request
        at = data.find(b"\r\n\r\n", max(0, seen - 3))
        if 0 <= at <= self._server.head - 4:
            self._buffer = b""
            self._request_comes(data[: at + 4], data[at + 4 :])
        elif at >= 0 or len(data) > self._server.head:
            self._refuse(431, "headers_too_large", f"The headers are longer than {self._server.head} bytes.")
        elif data.find(b"\n\n", max(0, seen - 1)) >= 0:
            self._refuse(400, "bad_http", UNREADABLE)
        else:
            self._buffer = data
            if data and self.waits != "head":
                self.waits, self.since = "head", self._loop.time()
                self.due = self.since + self._server.limits.header_seconds

    def _request_comes(self, head: bytes, rest: bytes) -> None:
        self._pairs = []
        self._body = body = Body(0, self._server.head)
        try:
            self._parser.feed_data(head)
            first, length, chunked, old = read_head(head, self._pairs, self._server.limits.header_fields)
            method = METHODS[self._parser.get_method()]
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, BadHead, KeyError):
            self._refuse(400, "bad_http", UNREADABLE)
            return
        self._request = request = Request(self, method, decode(self._target), Headers(self._pairs, first), length, old)
        self._begun = self._ended = False
        said = first.get("connection")
        self._close = old or (said is not None and "close" in said.lower())
        if body.whole:
            self._buffer = rest
            self.waits, self.due = "", NEVER
        else:
            body.left = None if chunked else length or 0
            self.waits, self.since = "body", self._loop.time()
            self.due = self.since + self._server.limits.body_seconds
            self._feed(rest)
        self._task = self._loop.create_task(self._run(request))
        self._server.running.add(self._task)

    def on_url(self, url: bytes) -> None:
        self._target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is None:  # else it is a trailer, which nobody reads
            self._pairs.append((name, value))

    def on_body(self, data: bytes) -> None:
        self._body.add(data)

    def on_message_complete(self) -> None:
        self._body.whole = True

    # a body

    def _feed(self, data: bytes) -> None:
        body = self._body
        if data:
            self._buffer = body.feed(self._parser, data)
        if body.bad is not None:
            self._broken()
        elif body.whole:
            self.waits, self.due = "", NEVER
            self._wake()
        elif body.most < 0 and body.got > EARLY:
            self._hold()

    async def read(self, most: int) -> bytes:
        assert self._request is not None
        body = self._body
        body.most = most
        if (self._request.content_length or 0) > most or body.got > most:
            body.too_long()
            self._broken()
        elif body.bad is None:
            if not self._begun and self._request.headers.first("expect").lower() == "100-continue":
                self._put(b"HTTP/1.1 100 Continue\r\n\r\n")
            if not body.whole:
                self._go_on()
                self._reader = self._loop.create_future()
                try:
                    await self._reader
                finally:
                    self._reader = None
        if body.bad is not None:
            raise body.bad
        return body.take()

    def _broken(self) -> None:
        self._close, self._buffer = True, b""
        self.waits, self.due = "", NEVER
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # a call

    async def _run(self, request: Request) -> None:
        try:
            response = await self._server.handler(request)
            if response is not None:
                await self._respond(response)
            elif not self._ended:
                self.abort()
        except ConnectionError:
            self.abort()
        except asyncio.CancelledError:
            self._close = True
            if not self._ended:
                self.abort()
            raise
        except Exception as error:  # noqa: BLE001 (a defect of the handler's: the client is told, and the server goes on)
            self._server.defect(error)
            if self._begun:
                self.abort()
            else:
                await self._last_word(502, "server_error", "freehold made an error.")
        finally:
            self._done()

    async def _last_word(self, status: int, code: str, message: str) -> None:
        response = self._server.refuse(status, code, message)
        response.close = True
        try:
            await self._respond(response)
        except ConnectionError:
            self.abort()

    async def _respond(self, response: Response) -> None:
        """Head and body in one write, or in slices where the body is long."""
        if self._blocked:
            await self._drained()
        self._close = self._close or response.close or self._server.draining or not self._body.whole
        self._begun = True
        body = response.body
        head = answer_head(response.status, response.headers, len(body), self._close)
        if self._request is not None and self._request.method == "HEAD":
            body = b""
        if len(body) <= SLICE:
            self._put(head + body)
        else:
            self._put(head)
            for at in range(0, len(body), SLICE):
                self._put(body[at : at + SLICE])
                if self._blocked:
                    await self._drained()
        self._ended = True

    async def begin(self, status: int, headers: Pairs) -> None:
        if self._blocked:
            await self._drained()
        old = self._request is None or self._request.old
        self._close = self._close or self._server.draining or not self._body.whole
        self._begun, self._chunked = True, not old and status not in EMPTY
        self._bodiless = status in EMPTY
        self._put(answer_head(status, headers, -1 if old else None, self._close))

    async def write(self, data: bytes) -> None:
        if self._bodiless:  # a byte would be read as the beginning of the next answer
            return
        if len(data) <= SLICE:
            if data:
                self._put(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
            if self._blocked:
                await self._drained()
            return
        for at in range(0, len(data), SLICE):
            await self.write(data[at : at + SLICE])

    async def end(self) -> None:
        self._put(b"0\r\n\r\n" if self._chunked else b"")
        self._ended = True

    def abort(self) -> None:
        self._close = True
        if self._transport is not None:
            self._transport.abort()

    def _put(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._sent += len(data)
        self._transport.write(data)

    async def _drained(self) -> None:
        """Wait until the client has taken most of what was written; the server's timer ends a wait without end."""
        self._writer = self._loop.create_future()
        try:
            await self._writer
        finally:
            self._writer = None

    def _done(self) -> None:
        """The call has ended: the next one, or the end of the connection."""
        if self._task is not None:
            self._server.running.discard(self._task)
        self._task, self._request = None, None
        if self._transport is None:
            return
        if self._close or self._server.draining:
            self._finish(not self._body.whole)
            return
        now = self._loop.time()
        self.waits, self.since, self.due = "idle", now, now + self._server.limits.idle_seconds
        self._go_on()
        if self._buffer:
            early, self._buffer = self._buffer, b""
            self._head(early)

    def _finish(self, unread: bool) -> None:
        """Close; a client that is still sending would lose our answer by a reset, so it has a moment to read it."""
        if self._transport is None:
            return
        self._request = None
        if unread and self._transport.can_write_eof() and not self._transport.is_closing():
            self.waits, self.due = "linger", self._loop.time() + LINGER
            self._go_on()
            self._transport.write_eof()
        else:
            self.waits, self.due = "linger", self._loop.time() + self._server.limits.write_seconds
            self._transport.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer what no handler sees, and close."""
        response = self._server.refuse(status, code, message)
        self._buffer = b""
        if self._transport is not None and not self._transport.is_closing():
            self._put(answer_head(status, response.headers, len(response.body), True) + response.body)
            self._finish(True)

    # the server's side

    @property
    def got(self) -> int:
        """Bytes of the body."""
        return self._body.got

    @property
    def peer(self) -> str:
        return self.address

    def hang_up(self) -> None:
        """Close it at once where no request runs."""
        if self._task is None and self._transport is not None:
            self._transport.close()

    def turn_away(self) -> None:
        """One connection too many."""
        self._refuse(503, "too_many_connections", "This server has as many connections as it takes.")

    def check(self, now: float) -> bool:
        """Do what is due: the server calls this from its timer. Whether that ended an answer that its reader left
        standing."""
        transport = self._transport
        if transport is None:
            return False
        if self._held and self._task is not None and _gone(transport):
            transport.abort()
            return False
        if now >= self.due:
            if self.waits != "body":
                transport.abort()
            else:
                limits = self._server.limits
                took = now - self.since - limits.body_seconds
                slow = self.got < limits.body_least * (now - self.since)
                if slow or took > self.got / (limits.body_kib_second << 10):
                    self._body.breaks(408, "body_too_slow", "The body came too slowly.")
                    self._broken()
        flushed = self._sent - transport.get_write_buffer_size()
        if flushed > self._flushed or flushed == self._sent:
            self._flushed, self._moved = flushed, now
        elif now - self._moved >= self._server.limits.write_seconds:
            transport.abort()
            return True
        return False

    @property
    def stalled(self) -> bool:
        """Whether the client leaves a write standing."""
        return self._blocked

    def _hold(self) -> None:
        if not self._held and self._transport is not None and not self._transport.is_closing():
            self._held = True
            self._transport.pause_reading()

    def _go_on(self) -> None:
        if self._held and self._transport is not None and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()


def _gone(transport: asyncio.Transport) -> bool:
    """Whether the client has ended its side, although there is more of it that was not read."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "POLLRDHUP"):
        return False
    look = select.poll()
    look.register(sock.fileno(), select.POLLRDHUP)
    return bool(look.poll(0))
