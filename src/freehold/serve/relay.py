"""A call that goes up: the client's bytes to the upstream, the upstream's bytes back, and a row about both.

    an answer in one piece   is passed back when it is whole, so a broken one is a clean 502 and never half an answer
    a stream                 event by event as it comes; broken off, it ends with an error event and no [DONE]
    the row                  is written before the last piece goes out: who has seen the end has a row in the ledger

Nothing is retried and nothing is mixed: once a byte of one answer has gone out, no other answer follows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDict

from freehold import wire
from freehold.engines.record import Recorded, failure, read_reply
from freehold.engines.upstream import Reply, Upstream, UpstreamFailed
from freehold.serve.door import Refusal
from freehold.serve.ledger import Entry, Ledger

__all__ = ["ANSWERED_BY", "Relay"]

ANSWERED_BY = "x-freehold-answered-by"
LONGEST = 16 << 20  # bytes of one answer that are kept
STALLED = 30.0  # seconds a client may leave a write standing
HELD = 256 << 10  # bytes of an event that is not whole; a longer one is passed on in pieces
END = re.compile(rb"(?:^|\n)data: ?\[DONE\]")  # on a line of its own: a text may hold these words too
GAPS = (b"\n\n", b"\r\n\r\n")  # between events
BROKEN = ("upstream_interrupted", "upstream_timeout")


@dataclass(slots=True)
class Relay:
    """`stopping` says whether the server is about to end, which is then the reason why calls are cancelled."""

    upstream: Upstream
    ledger: Ledger
    stopping: bool = False

    async def chat(self, request: web.BaseRequest, body: bytes, entry: Entry) -> web.StreamResponse:
        """Answer a chat call from the upstream. Raises Refusal (502 or 504) where no answer came."""
        try:
            async with self.upstream.send("POST", request.raw_path, request.headers, body) as reply:
                if reply.status < 400 and _type(reply).startswith("text/event-stream"):
                    return await self._stream(request, reply, entry)
                return await self._whole(reply, entry)
        except UpstreamFailed as error:
            entry.ends(error.http, "failed", failure(error.code, error.message), error.message)
            self.ledger.write(entry)
            raise Refusal(error.http, error.message, error.code) from None

    async def other(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Pass any other request up and its answer back, piece by piece. No row: it is no chat call."""
        try:
            async with self.upstream.send(request.method, request.raw_path, request.headers, body) as reply:
                out = _Out(request, web.StreamResponse(status=reply.status, headers=self._headers(reply)))
                try:
                    while chunk := await reply.read():
                        await out.write(chunk)
                except UpstreamFailed:
                    if not out.begun:
                        raise
                    out.abort()
                await out.end()
                return out.response
        except UpstreamFailed as error:
            raise Refusal(error.http, error.message, error.code) from None

    def _headers(self, reply: Reply) -> CIMultiDict[str]:
        headers = CIMultiDict(reply.headers)
        headers["Server"] = "freehold"
        headers[ANSWERED_BY] = self.upstream.kind
        return headers

    async def _whole(self, reply: Reply, entry: Entry) -> web.StreamResponse:
        body = bytearray()
        while chunk := await reply.read():
            body += chunk
            if len(body) > LONGEST:
                raise UpstreamFailed(502, "upstream_too_long", f"The upstream's answer is longer than {LONGEST} bytes.")
        self._record(reply, bytes(body), entry)
        return web.Response(status=reply.status, headers=self._headers(reply), body=bytes(body))

    async def _stream(self, request: web.BaseRequest, reply: Reply, entry: Entry) -> web.StreamResponse:
        out = _Out(request, web.StreamResponse(status=reply.status, headers=self._headers(reply)))
        kept, last, why = bytearray(), b"", ""
        try:
            while chunk := await reply.read():
                if len(kept) < LONGEST:
                    kept += chunk
                last = await out.events(chunk)
                if last:
                    break
        except UpstreamFailed as error:
            if not out.begun:
                raise
            why = error.code
        except (asyncio.CancelledError, ConnectionError):
            why = "server_stopped" if self.stopping else "client_gone"
            self._record(reply, bytes(kept), entry, why)
            if self.stopping and out.begun:
                await out.write(_error_event("The server is stopping.", why))
                await out.end()
            raise
        found = self._record(reply, bytes(kept), entry, why)
        if found.reason in BROKEN:
            event = _error_event("The upstream broke off its answer.", "upstream_interrupted")
            await out.write(b"\n\n" + event if out.torn else event)
        else:
            await out.write(last or out.held)
        await out.end()
        if last:
            await _read_out(reply)
        return out.response

    def _record(self, reply: Reply, body: bytes, entry: Entry, why: str = "") -> Recorded:
        encoding = reply.header("content-encoding").lower()
        if encoding not in ("", "identity"):
            reason = f"the answer came back encoded ({encoding[:20]}) and was not read"
            found = Recorded(failure("not_read", reason), "partial" if why else "complete", reason)
        else:
            found = read_reply(reply.status, _type(reply), body, why=why)
        entry.ends(reply.status, found.status, found.response, found.reason)
        self.ledger.write(entry)
        return found


def _type(reply: Reply) -> str:
    return reply.header("content-type").lower()


async def _read_out(reply: Reply) -> None:
    """What follows [DONE] is nothing, but a connection that was read to its end can be used again."""
    with contextlib.suppress(TimeoutError, UpstreamFailed):
        async with asyncio.timeout(1.0):
            while await reply.read():
                pass


def _error_event(message: str, code: str) -> bytes:
    return b"event: error\ndata: " + wire.error(message, code, code) + b"\n\n"


class _Out:
    """The way back to the client; begins with the first bytes, so that an early failure can still be a clean status."""

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self.response = response
        self.begun = False
        self.held = b""
        self.torn = False  # whether an event too long to hold was begun
        self._request = request

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError where the client is gone or has stopped reading."""
        if not data:
            return
        try:
            async with asyncio.timeout(STALLED):
                if not self.begun:
                    self.begun = True
                    await self.response.prepare(self._request)
                await self.response.write(data)
        except TimeoutError:
            self.abort()
            raise ConnectionResetError("the client has stopped reading") from None

    async def events(self, chunk: bytes) -> bytes:
        """Send the events that are whole, hold the rest. Returns the piece with [DONE], which is not sent yet."""
        data = (self.held + chunk) if self.held else chunk
        end = max((at + len(gap) for gap in GAPS if (at := data.rfind(gap)) >= 0), default=0)
        ready, self.held = data[:end], data[end:]
        if END.search(ready):
            return ready
        if len(self.held) > HELD:
            ready, self.held, self.torn = data, b"", True
        await self.write(ready)
        return b""

    async def end(self) -> None:
        if not self.begun:
            self.begun = True
            await self.response.prepare(self._request)
        await self.response.write_eof()

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
