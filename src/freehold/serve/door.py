"""The door: what a request must look like before anybody reads it.

    Host      this server's own address, else 421        (a page that points its own name here: DNS rebinding)
    Origin    none, or this server's own, else 403       (another page in the user's browser)
    headers   32 KiB in all, else 431
    type      JSON for chat calls, else 415; no Content-Encoding (a small body that grows), else 415
    body      4 MiB, counted as it comes, else 413; 30 s + 1 s for each 64 KiB, else 408
    JSON      64 deep, 50,000 values, 1,024 messages, no key twice, else 400
    hop       none, else 508                             (a server that is its own upstream)

Deadlines for headers are kept in listen.py, where the connection is.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from aiohttp import web

from freehold import stream, wire
from freehold.engines.upstream import HOP

__all__ = ["BODY", "HEADERS", "Refusal", "check_address", "check_type", "read_body", "read_json"]

BODY = 4 << 20
HEADERS = 32 << 10
DEPTH = 64
VALUES = 50_000  # a small body can hold a million of them, each of which takes memory and time
MESSAGES = 1024
# A text (matched to the end of the body where its closing quote lacks, so that one pass is enough), or what comes
# before a value.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?|[,{\[]', re.DOTALL)
SECONDS = 30.0
RATE = 64 << 10  # bytes that buy one more second


class Refusal(Exception):
    """A request that gets an error in OpenAI's shape instead of an answer."""

    def __init__(self, http: int, message: str, code: str, *, close: bool = False, **headers: str) -> None:
        super().__init__(message)
        self.http = http
        self.message = message
        self.code = code
        self.close = close
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def body(self) -> bytes:
        kind = "invalid_request_error" if self.http < 500 else "upstream_error"
        return wire.error(self.message, kind, self.code)


def check_address(request: web.BaseRequest, port: int) -> None:
    """Raises Refusal unless the request was meant for this server, and comes from no other web page."""
    own = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")}
    if port == 80:
        own |= {"127.0.0.1", "localhost", "[::1]"}
    if [host.lower() for host in request.headers.getall("Host", [])] not in [[host] for host in own]:
        raise Refusal(421, f"This server answers to 127.0.0.1:{port} and localhost:{port} only.", "wrong_host")
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() not in {f"http://{host}" for host in own}:
        raise Refusal(403, "Web pages from elsewhere may not call this server.", "foreign_origin")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Refusal(403, "Web pages from elsewhere may not call this server.", "foreign_origin")
    if HOP in request.headers:
        raise Refusal(508, "This call comes from freehold itself: its upstream is freehold again.", "loop")
    if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > HEADERS:
        raise Refusal(431, f"The headers are longer than {HEADERS} bytes.", "headers_too_large", close=True)


def check_type(request: web.BaseRequest, *, json_only: bool) -> None:
    """Raises Refusal unless the body is plain bytes and, with `json_only`, JSON."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "Compressed requests are not read. Send the body as it is.", "content_encoding", close=True)
    if json_only and request.content_type != "application/json":
        message = "The body must be JSON. Send the header Content-Type: application/json."
        raise Refusal(415, message, "content_type", close=True)


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body. Raises Refusal where it is too long or too slow."""
    too_long = Refusal(413, f"The body is longer than {BODY} bytes.", "body_too_large", close=True)
    if (request.content_length or 0) > BODY:
        raise too_long
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    start = asyncio.get_running_loop().time()
    body = bytearray()
    try:
        while True:
            async with asyncio.timeout_at(start + SECONDS + len(body) / RATE):
                chunk = await request.content.readany()
            if not chunk:
                return bytes(body)
            body += chunk
            if len(body) > BODY:
                raise too_long
    except TimeoutError:
        raise Refusal(408, "The body came too slowly.", "body_too_slow", close=True) from None
    except web.RequestPayloadError:
        raise Refusal(400, "The body is not what its headers say.", "bad_body", close=True) from None


def read_json(body: bytes) -> dict[str, Any]:
    """The request as an object. Raises Refusal for anything that two readers could read differently."""
    try:
        if _too_many(body):
            raise wire.RowError(f"it holds more than {VALUES:,} values")
        found = wire.loads(body)
        wire.call_from_request(found)
        if len(found["messages"]) > MESSAGES:
            raise wire.RowError(f"it has more than {MESSAGES:,} messages")
        if stream.depth(found, DEPTH) > DEPTH:
            raise wire.RowError(f"nested deeper than {DEPTH}")
        # A second reader, for the one thing the first can't say: whether a key stands twice.
        json.loads(body, object_pairs_hook=_once)
    except ValueError as error:
        raise Refusal(400, f"The body can't be read as a chat request: {error}.", "bad_request") from None
    assert isinstance(found, dict)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise wire.RowError("a key stands twice in one object")
    return found


def _too_many(body: bytes) -> bool:
    """Whether there are more than VALUES values, before any of them is made.

    Each value but the first stands behind one of , { [ outside of a text. Those inside of texts are told apart only
    where there are many of them at all, and only so far as a body with few values can reach.
    """
    if sum(body.count(mark) for mark in (b",", b"{", b"[")) < VALUES:
        return False
    marks = texts = 0
    for token in TOKEN.finditer(body):
        if body[token.start()] == 0x22:
            texts += 1
        else:
            marks += 1
        if marks >= VALUES or texts > 2 * VALUES:  # a value has two texts at most: its key, and itself
            return True
    return False
