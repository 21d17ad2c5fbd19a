"""A call that goes up: the client's bytes to the upstream, the upstream's bytes back, and a row about both.

    an answer in one piece   is passed back when it is whole, so a broken one is a clean 502 and never half an answer
    a stream                 event by event as it comes; broken off, it ends with an error event and no [DONE]
    the row                  is written before the last piece goes out: who has seen the end has a row in the ledger

Which host answers, and whether another is tried, is the fleet's matter (engines/hosts/): nothing of an answer comes
here before its content, and once that has come no other answer follows it. Whether an answer can be read is a matter
for its row alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from freehold import wire
from freehold.engines.hosts.deadline import TIMEOUT
from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Sent
from freehold.engines.record import HOLDS_ERROR, Recorded, failure, read_reply
from freehold.engines.upstream import Headers, UpstreamFailed
from freehold.http.request import Request, Response
from freehold.ledger import Entry
from freehold.serve.away.out import Out
from freehold.serve.entry.door import Refusal
from freehold.serve.parts import Parts

__all__ = ["ANSWERED_BY", "Relay", "within"]

ANSWERED_BY = "x-freehold-answered-by"
LONGEST = 16 << 20  # bytes of one answer that are kept
LEAST = 0.002  # seconds: with less no upstream is asked
AFTER = 1.0  # seconds for what an upstream still sends after [DONE]
TOO_LONG = "too long to keep"


@dataclass(slots=True)
class Relay:
    """`parts.stopping` says whether the server is about to end, which is then the reason why calls are cancelled."""

    parts: Parts
    fleet: Fleet

    async def chat(
        self, request: Request, headers: Mapping[str, str], body: bytes, entry: Entry, asked: list[str]
    ) -> Response | None:
        """Answer a chat call from the upstream; `asked` as in Fleet.send. Raises Refusal (502 or 504) where no answer
        came."""
        whole = not entry.body.get("stream")
        try:
            async with self.fleet.send("POST", request.target, headers, body, whole=whole, asked=asked) as reply:
                if reply.status < 400 and _type(reply).startswith("text/event-stream"):
                    return await self._stream(request, reply, entry)
                return await self._whole(reply, entry)
        except UpstreamFailed as error:
            entry.ends(error.http, "failed", failure(error.code, error.message), error.message)
            self.parts.ledger.write(entry)
            await self.parts.acked(entry)
            raise Refusal(error.http, error.message, error.code) from None

    async def other(
        self,
        request: Request,
        headers: Mapping[str, str],
        body: bytes,
        *,
        whole: bool = False,
        by: Callable[[str], object] = bool,
        asked: list[str] | None = None,
    ) -> Response | None:
        """Pass any other request up and its answer back: in pieces, or (`whole`) at once where it is JSON. No row, for
        it is no chat call. `by` is told which host's answer it is, where that is no error."""
        path = request.target
        try:
            async with self.fleet.send(request.method, path, headers, body, whole=True, asked=asked) as reply:
                if reply.status < 400:
                    by(reply.host)
                if reply.status >= 400 or (whole and _type(reply).startswith("application/json")):
                    return self._answer(reply, await _read(reply))
                out = Out(request, reply.status, self._headers(reply))
                try:
                    while chunk := await reply.read():
                        await out.write(chunk)
                except UpstreamFailed:
                    if not out.begun:
                        raise
                    out.abort()
                    return None
                await out.end()
                return None
        except UpstreamFailed as error:
            raise Refusal(error.http, error.message, error.code) from None

    def _headers(self, reply: Sent) -> Headers:
        return [*reply.headers, ("Server", "freehold"), (ANSWERED_BY, self.fleet.kind)]

    def _answer(self, reply: Sent, body: bytes) -> Response:
        """An upstream that is told a wrong key may say it again: an error goes back without our key."""
        said = reply.redact(body) if reply.status >= 400 else body
        return Response(reply.status, said, self._headers(reply))

    async def _whole(self, reply: Sent, entry: Entry) -> Response | None:
        body = await _read(reply)
        self._record(reply, body, entry)
        await self.parts.acked(entry)
        return self._answer(reply, body)

    async def _stream(self, request: Request, reply: Sent, entry: Entry) -> Response | None:
        out = Out(request, reply.status, self._headers(reply))
        kept, last, why = _Kept(), b"", ""
        try:
            while not last and (chunk := await reply.read()):
                kept.add(chunk)
                last = await out.events(chunk)
        except UpstreamFailed as error:
            if not out.begun:
                raise
            why = error.code
        except (asyncio.CancelledError, ConnectionError):
            why = "server_stopped" if self.parts.stopping else "client_gone"
            self._record(reply, kept.body, entry, why)
            if self.parts.stopping and out.begun:
                await out.write(_error_event("The server is stopping.", why))
                await out.end()
            raise
        if not why and not out.ended and not _encoding(reply):
            why = "upstream_interrupted"
        found = self._record(reply, kept.body, entry, why)
        try:
            await self.parts.acked(entry)
        except Refusal as error:  # too late for a status: the stream ends without its [DONE]
            await out.write((b"\n\n" if out.torn else b"") + _error_event(error.message, error.code))
            await out.end()
            return None
        if why and found.reason != HOLDS_ERROR:
            event = _error_event("The upstream broke off its answer.", "upstream_interrupted")
            await out.write(b"\n\n" + event if out.torn else event)
        else:
            await out.write(last + out.held)
        if last:
            await _pass_rest(reply, out)
        await out.end()
        return None

    def _record(self, reply: Sent, body: bytes | None, entry: Entry, why: str = "") -> Recorded:
        """Write the row. `body` is None for one too long to keep; `why` is what broke it off."""
        encoding = _encoding(reply)
        if body is None:
            found = Recorded(failure(why or "not_kept", TOO_LONG), "partial" if why else "complete", TOO_LONG)
        elif encoding:
            reason = f"the answer came back encoded ({encoding[:20]}) and was not read"
            found = Recorded(failure("not_read", reason), "partial" if why else "complete", reason)
        else:
            found = read_reply(reply.status, _type(reply), body, why=why)
        response = found.response
        if not _holds_none(reply, body):
            said = wire.dumps(response)
            clean = reply.redact(said)
            response = response if clean == said else wire.loads(clean)
        entry.ends(reply.status, found.status, response, found.reason)
        if reply.host:
            entry.more["host"] = reply.host
        if reply.redacted:
            entry.more["redacted"] = True
        if self._another(reply, entry):
            entry.more["other"] = True
        self.parts.ledger.write(entry)
        return found

    def _another(self, reply: Sent, entry: Entry) -> bool:
        """Whether another model than the one that was asked for may have answered: its words are no evidence about that
        one."""
        first = self.fleet.hosts[0]
        return bool(reply.host) and (reply.host != first.name or first.model not in ("", entry.call.model))


def within(headers: Mapping[str, str], until: float | None) -> Mapping[str, str]:
    """The headers of a request, which say how long its client still waits: `until` that time of the event loop's clock
    (None: it doesn't say). Raises Refusal where it doesn't wait any more."""
    if until is None:
        return headers
    left = until - asyncio.get_running_loop().time()
    if left < LEAST:
        raise Refusal(504, "The time that the client waits was up before an upstream was asked.", "deadline")
    return {name: headers[name] for name in headers if name != "x-stainless-timeout"} | {TIMEOUT: f"{left:.3f}"}


class _Kept:
    """The bytes of a stream for its row; None once they are too many."""

    def __init__(self) -> None:
        self._body: bytearray | None = bytearray()

    def add(self, chunk: bytes) -> None:
        if self._body is not None:
            self._body += chunk
            if len(self._body) > LONGEST:
                self._body = None

    @property
    def body(self) -> bytes | None:
        return None if self._body is None else bytes(self._body)


def _type(reply: Sent) -> str:
    return reply.header("content-type").lower()


def _encoding(reply: Sent) -> str:
    return reply.header("content-encoding").lower().replace("identity", "")


def _holds_none(reply: Sent, body: bytes | None) -> bool:
    """Whether what is read of an answer can't hold our key, because its bytes don't: nothing of them is unescaped, and
    nothing is put together from pieces."""
    plain = body is not None and b"\\" not in body and not _type(reply).startswith("text/event-stream")
    return plain and reply.redact(body or b"") == body


async def _read(reply: Sent) -> bytes:
    """A whole answer. Raises UpstreamFailed where it is too long, or JSON of which nothing but its end says how long
    it is, and which is cut."""
    body = bytearray()
    while chunk := await reply.read():
        body += chunk
        if len(body) > LONGEST:
            raise UpstreamFailed(502, "upstream_too_long", f"The upstream's answer is longer than {LONGEST} bytes.")
    if not reply.framed and _type(reply).startswith("application/json") and not _encoding(reply):
        try:
            wire.loads(bytes(body))
        except wire.RowError:
            raise UpstreamFailed(502, "upstream_interrupted", "The upstream broke off its answer.") from None
    return bytes(body)


async def _pass_rest(reply: Sent, out: Out) -> None:
    """What follows [DONE] is hardly anything, but a connection that was read to its end can be used again."""
    until = asyncio.get_running_loop().time() + AFTER
    try:
        while True:
            async with asyncio.timeout_at(until):
                chunk = await reply.read()
            if not chunk:
                return
            await out.write(chunk)
    except (TimeoutError, UpstreamFailed):
        return


def _error_event(message: str, code: str) -> bytes:
    return b"event: error\ndata: " + wire.error(message, code, code) + b"\n\n"
