"""The door: what a request must look like before anybody reads it.

    Host      this server's own address, else 421        (a page that points its own name here: DNS rebinding)
    Origin    none, or this server's own, else 403       (another page in the user's browser)
    headers   32 KiB in all, else 431
    type      JSON for chat calls, else 415; no Content-Encoding (a small body that grows), else 415
    body      4 MiB, counted as it comes, else 413; 30 s + 1 s for each 64 KiB, else 408
    JSON      64 deep, 50,000 values, 1,024 messages, no key twice, else 400
    hop       none, else 508                             (a server that is its own upstream)

Figures are those of project.gateway.Limits. Deadlines are kept in http/, where the connection is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from freehold import stream, wire
from freehold.engines.upstream import HOP
from freehold.http.request import BodyRefused, Request
from freehold.nouns import Call
from freehold.project.gateway import Limits

__all__ = ["Own", "Refusal", "check_address", "check_type", "read_body", "read_chat"]

LOCAL = ("127.0.0.1", "localhost", "[::1]")
JSON = "application/json"
NONE = "\0"  # no header's value
# A text (matched to the end of the body where its closing quote lacks, so that one pass is enough), or what comes
# before a value.
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?|[,{\[]', re.DOTALL)


class Refusal(Exception):
    """A request that gets an error in OpenAI's shape instead of an answer."""

    def __init__(self, http: int, message: str, code: str, *, close: bool = False, **headers: str) -> None:
        super().__init__(message)
        self.http = http
        self.message = message
        self.code = code
        self.close = close
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]

    @property
    def body(self) -> bytes:
        kind = "invalid_request_error" if self.http < 500 else "upstream_error"
        return wire.error(self.message, kind, self.code)


class Own:
    """The names that this server answers to: this machine's, on `port`, and `more` (host names, with or without a
    port). `any_host`: to any name, since every call needs a key that no web page has."""

    def __init__(self, port: int, more: Iterable[str] = (), *, any_host: bool = False) -> None:
        names = {*LOCAL, *(name.lower() for name in more)}
        hosts = {name if _has_port(name) else f"{name}:{port}" for name in names}
        if port == 80:
            hosts |= names
        self.port = port
        self.any_host = any_host
        self.hosts = frozenset(hosts)
        self.origins = frozenset(f"http://{host}" for host in hosts)


def _has_port(name: str) -> bool:
    return name.rpartition(":")[2].isdecimal() and not name.endswith("]") and name.count(":") != 0


def check_address(request: Request, own: Own) -> None:
    """Raises Refusal unless the request was meant for this server, and comes from no other web page."""
    first = request.headers.first
    host = first("host")
    if not own.any_host and host not in own.hosts and host.lower() not in own.hosts:
        message = f"This server answers to 127.0.0.1:{own.port} and localhost:{own.port} only."
        raise Refusal(421, message, "wrong_host")
    origin = first("origin", NONE)
    if origin is not NONE and origin.lower() not in own.origins:
        raise Refusal(403, "Web pages from elsewhere may not call this server.", "foreign_origin")
    if first("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refusal(403, "Web pages from elsewhere may not call this server.", "foreign_origin")
    if first(HOP, NONE) is not NONE:
        raise Refusal(508, "This call comes from freehold itself: its upstream is freehold again.", "loop")


def check_type(request: Request, *, json_only: bool) -> None:
    """Raises Refusal unless the body is plain bytes and, with `json_only`, JSON."""
    first = request.headers.first
    if first("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "Compressed requests are not read. Send the body as it is.", "content_encoding", close=True)
    if json_only:
        said = first("content-type")
        if said != JSON and said.partition(";")[0].strip().lower() != JSON:
            message = "The body must be JSON. Send the header Content-Type: application/json."
            raise Refusal(415, message, "content_type", close=True)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body. Raises Refusal where it is too long or too slow."""
    try:
        return await request.read(int(limits.body_mib * (1 << 20)))
    except BodyRefused as error:
        raise Refusal(error.status, error.message, error.code, close=True) from None


def read_chat(body: bytes, limits: Limits) -> tuple[dict[str, Any], Call]:
    """The request as an object, and as a call. Raises Refusal for anything that two readers could read differently."""
    try:
        if _too_many(body, limits.values):
            raise wire.RowError(f"it holds more than {limits.values:,} values")
        found = wire.loads(body)
        call = wire.call_from_request(found)
        if len(call.messages) > limits.messages:
            raise wire.RowError(f"it has more than {limits.messages:,} messages")
        if body.count(b"{") + body.count(b"[") > limits.depth and stream.depth(found, limits.depth) > limits.depth:
            raise wire.RowError(f"nested deeper than {limits.depth}")
        if _separators(body) != _pairs(found):
            # A second reader, for the one thing the first can't say: whether a key stands twice.
            json.loads(body, object_pairs_hook=_once)
    except ValueError as error:
        raise Refusal(400, f"The body can't be read as a chat request: {error}.", "bad_request") from None
    return found, call


def _separators(body: bytes) -> int:
    """At least as many as there are colons between a key and its value: all that stand behind a quote or a space.
    Those in texts may count too, so that only an equal number of keys says something: no key stands twice."""
    return (
        body.count(b'":') + body.count(b" :") + body.count(b"\n:") + body.count(b"\r:") + body.count(b"\t:")
    )  # fmt: skip


def _pairs(value: dict[str, Any]) -> int:
    """How many keys there are, at all depths."""
    left: list[Any] = [value]
    found = 0
    while left:
        one = left.pop()
        if type(one) is dict:
            found += len(one)
            left += [inner for inner in one.values() if type(inner) is dict or type(inner) is list]
        else:
            left += [inner for inner in one if type(inner) is dict or type(inner) is list]
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise wire.RowError("a key stands twice in one object")
    return found


def _too_many(body: bytes, most: int) -> bool:
    """Whether there are more than `most` values, before any of them is made.

    Each value but the first stands behind one of , { [ outside of a text. Those inside of texts are told apart only
    where there are many of them at all, and only so far as a body with few values can reach.
    """
    if len(body) < most or sum(body.count(mark) for mark in (b",", b"{", b"[")) < most:
        return False
    marks = texts = 0
    for token in TOKEN.finditer(body):
        if body[token.start()] == 0x22:
            texts += 1
        else:
            marks += 1
        if marks >= most or texts > 2 * most:  # a value has two texts at most: its key, and itself
            return True
    return False
