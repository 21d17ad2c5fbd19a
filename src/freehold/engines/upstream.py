"""Upstreams: whatever stands behind the students. Bytes go up as the client sent them, bytes come back.

    send(method, path, headers, body) -> Reply(status, headers, read)       read() -> the next bytes, b"" at the end

Two of them: HttpUpstream (the closed API, vLLM, Ollama, any OpenAI-compatible host) and Replay (the log itself).
This is the one place that holds the upstream's key. It is added to a request on its way to the one host named at
start; no redirect is followed, no proxy is read from the environment, and no client header can name a host or a key.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from freehold.errors import BadSetting

__all__ = ["HOP", "UP", "Headers", "HttpUpstream", "Reply", "Timeouts", "Upstream", "UpstreamFailed", "base_url"]

Headers = list[tuple[str, str]]

# Request headers that go up. Everything else stays: the client's key and cookies, its host, its organisation
# (which belongs to the client's key, not to ours), and whatever a later API may read as a command.
UP = ("accept", "content-type", "idempotency-key", "openai-beta", "traceparent", "user-agent", "x-client-request-id")
# Response headers that don't come back: hop-by-hop (RFC 9110, 7.6.1), and what belongs to the upstream's own host.
NOT_BACK = {
    "alt-svc", "connection", "content-length", "keep-alive", "proxy-authenticate", "proxy-connection", "server",
    "set-cookie", "strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
    "x-freehold-answered-by",
}  # fmt: skip
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # no header may hold these
HOP = "x-freehold-hop"  # stands on all that goes up, so that a server that is its own upstream notices
HEADER = 32 << 10  # bytes of one header of an answer
SECRET = 8  # a shorter key is a placeholder, such as EMPTY, and may stand in any text


class UpstreamFailed(Exception):
    """No whole answer came: 502 when the upstream is down or broke off, 504 when it was too slow."""

    def __init__(self, http: int, code: str, message: str) -> None:
        super().__init__(message)
        self.http = http
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Reply:
    """`read` gives the next bytes as they come, b"" at the end; it raises UpstreamFailed where they break off.

    `framed` says whether the answer told its length, or its end, other than by closing the connection; `redact` takes
    the upstream's key out of what is kept or shown.
    """

    status: int
    headers: Headers
    read: Callable[[], Awaitable[bytes]]
    framed: bool = True
    redact: Callable[[bytes], bytes] = bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class Upstream(Protocol):
    """`kind` is upstream or replay, as the answered-by header and the ledger say it."""

    @property
    def kind(self) -> str: ...

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, whole: bool = False
    ) -> AbstractAsyncContextManager[Reply]:
        """Raises UpstreamFailed. Leaving the context early cancels the request at the upstream.

        `whole`: the answer comes in one piece, so its first byte may take as long as all of it.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to connect, to the first bytes of a stream, between bytes, and in all."""

    connect: float = 3.0
    first: float = 60.0
    between: float = 30.0
    total: float = 600.0


def base_url(text: str) -> str:
    """The URL that stands for the client's /v1, without a slash at its end; raises BadSetting.

    "https://api.openai.com" and "https://api.openai.com/v1" are the same; another path is taken as it is.
    """
    hint = 'Give a base URL such as https://api.openai.com/v1, or "replay".'
    try:
        parts = urlsplit(text.strip())
        named = parts.port, parts.hostname
    except ValueError:
        raise BadSetting("The upstream is not a URL.", hint) from None
    if parts.username is not None or parts.password is not None:
        message = "The upstream URL holds a user name or a password, which would end up in logs."
        raise BadSetting(message, "Put the key into FREEHOLD_UPSTREAM_KEY instead.")
    if parts.scheme not in ("http", "https") or not named[1]:
        raise BadSetting(f"The upstream is {text!r}, which is not an http or https URL.", hint)
    if parts.query or parts.fragment:
        raise BadSetting("The upstream URL has a query or a fragment.", hint)
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


class HttpUpstream:
    """An OpenAI-compatible host at `url`. Raises BadSetting for a URL or key that can't be used."""

    kind = "upstream"

    def __init__(self, url: str, key: str = "", *, timeouts: Timeouts | None = None) -> None:
        self.url = base_url(url)
        if key and not re.fullmatch(r"[\x21-\x7e]+", key):
            raise BadSetting("The upstream key holds a space or a character that no key has.", "Set it again.")
        self._key = key
        self._timeouts = timeouts or Timeouts()
        self._session: aiohttp.ClientSession | None = None

    @property
    def local(self) -> bool:
        """Whether the host is this machine."""
        return urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")

    def __repr__(self) -> str:
        return f"HttpUpstream({self.url!r}, key={'***' if self._key else 'none'})"

    def redact(self, data: bytes) -> bytes:
        """`data` without the key: plain, and as JSON may write it."""
        if len(self._key) >= SECRET:
            quoted = json.dumps(self._key)[1:-1]
            for said in {self._key, quoted, quoted.replace("/", "\\/")}:
                data = data.replace(said.encode(), b"[key]")
        return data

    @asynccontextmanager
    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, whole: bool = False
    ) -> AsyncIterator[Reply]:
        """Send `body` to `path` ("/v1/...", with its query)."""
        wait = self._timeouts.total if whole else self._timeouts.first
        until = asyncio.get_running_loop().time() + wait  # for the headers and the first bytes together
        response = await self._request(method, path, headers, body, until)
        try:
            back = _headers_back((name, self.redact(value)) for name, value in response.raw_headers)
            framed = "content-length" in response.headers or "transfer-encoding" in response.headers
            read = _Reader(response, until, self._timeouts.between, framed).read
            yield Reply(response.status, back, read, framed, self.redact)
        finally:
            response.close()  # a response read to its end has given its connection back already

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            t = self._timeouts
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=t.total, connect=t.connect),
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_field_size=HEADER,
            )
        return self._session

    def _headers_up(self, headers: Mapping[str, str]) -> dict[str, str]:
        up = {name: headers[name] for name in UP if name in headers}
        # Plain bytes, so that the ledger can read the answer while it passes.
        up["accept-encoding"] = "identity"
        up[HOP] = "1"
        if self._key:
            up["authorization"] = f"Bearer {self._key}"
        return up

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, until: float
    ) -> aiohttp.ClientResponse:
        url = URL(self.url + path.removeprefix("/v1"), encoded=True)
        try:
            async with asyncio.timeout_at(until):
                response = await self._open().request(
                    method,
                    url,
                    data=io.BytesIO(body) if body else None,  # sent in pieces
                    headers=self._headers_up(headers),
                    allow_redirects=False,
                    skip_auto_headers=("User-Agent", "Content-Type", "Accept"),
                )
        except TimeoutError:
            raise UpstreamFailed(504, "upstream_timeout", "The upstream did not answer in time.") from None
        except aiohttp.ClientError as error:
            message = f"The upstream can't be reached ({type(error).__name__})."
            raise UpstreamFailed(502, "upstream_unreachable", message) from None
        if response.status in (301, 302, 303, 307, 308):
            response.close()
            message = f"The upstream answered {response.status}, a redirect; freehold follows none."
            raise UpstreamFailed(502, "upstream_redirects", message)
        return response


class _Reader:
    """Reads a response piece by piece: the first until `until`, each further one within `between` seconds."""

    def __init__(self, response: aiohttp.ClientResponse, until: float, between: float, framed: bool) -> None:
        self._content = response.content
        self._until = until
        self._between = between
        self._reset = False
        protocol = response.connection.protocol if response.connection and not framed else None
        closed = protocol.closed if protocol is not None else None
        if closed is not None:
            closed.add_done_callback(self._closed)

    def _closed(self, closed: asyncio.Future[None]) -> None:
        self._reset = not closed.cancelled() and closed.exception() is not None

    async def read(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._until):
                chunk = await self._content.readany()
        except TimeoutError:
            raise UpstreamFailed(504, "upstream_timeout", "The upstream stopped in the middle of its answer.") from None
        except aiohttp.ClientError:
            raise UpstreamFailed(502, "upstream_interrupted", "The upstream broke off its answer.") from None
        if not chunk and self._reset:  # what ends with its connection has not ended where that was reset
            raise UpstreamFailed(502, "upstream_interrupted", "The upstream broke off its answer.")
        self._until = asyncio.get_running_loop().time() + self._between
        return chunk


def _headers_back(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    # surrogates stand for bytes that are no UTF-8; out.py writes them as they came
    found = [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in raw]
    named = {part.strip().lower() for name, value in found if name.lower() == "connection" for part in value.split(",")}

    def back(name: str) -> bool:
        return name not in NOT_BACK and name not in named and not name.startswith("access-control-")

    return [(name, value) for name, value in found if back(name.lower()) and not CONTROL.search(value)]
