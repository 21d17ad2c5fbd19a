"""Upstreams: whatever stands behind the students. Bytes go up as the client sent them, bytes come back.

    send(method, path, headers, body) -> Reply(status, headers, read)       read() -> the next bytes, b"" at the end

Two of them: HttpUpstream (the closed API, vLLM, Ollama, any OpenAI-compatible host) and Replay (the log itself).
This is the one place that holds the upstream's key. It is added to a request on its way to the one host named at
start; no redirect is followed, no proxy is read from the environment, and no client header can name a host or a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from freehold.errors import BadSetting
from freehold.http.client import Answer, AskFailed, Client
from freehold.http.head import decode, name_of

__all__ = [
    "AGAIN",
    "HOP",
    "UP",
    "Headers",
    "HttpUpstream",
    "Reply",
    "Timeouts",
    "Upstream",
    "UpstreamFailed",
    "base_url",
]

Headers = list[tuple[str, str]]

# Request headers that go up. Everything else stays: the client's key and cookies, its host, its organisation
# (which belongs to the client's key, not to ours), and whatever a later API may read as a command.
UP = (
    "accept", "content-type", "idempotency-key", "openai-beta", "traceparent", "user-agent", "x-client-request-id",
    "x-stainless-read-timeout",
)  # fmt: skip
# Response headers that don't come back: hop-by-hop (RFC 9110, 7.6.1), and what belongs to the upstream's own host.
NOT_BACK = {
    "alt-svc", "connection", "content-length", "keep-alive", "proxy-authenticate", "proxy-connection", "server",
    "set-cookie", "strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
    "x-freehold-answered-by",
}  # fmt: skip
AGAIN = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/responses"})
"""Calls that leave nothing behind at a host: any other POST is sent once."""
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # no header may hold these
HOP = "x-freehold-hop"  # stands on all that goes up, so that a server that is its own upstream notices
SECRET = 8  # a shorter key is a placeholder, such as EMPTY, and may stand in any text


class UpstreamFailed(Exception):
    """No whole answer came: 502 when the upstream is down or broke off, 504 when it was too slow."""

    def __init__(self, http: int, code: str, message: str) -> None:
        super().__init__(message)
        self.http = http
        self.code = code
        self.message = message


@dataclass(slots=True)  # not frozen: that takes three times as long to make, and every call makes two
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
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return ""


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

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        timeouts: Timeouts | None = None,
        allowed: Callable[[str], bool] | None = None,
    ) -> None:
        """`allowed(ip)` says whether an address that the host's name stands for may be asked (default: every one)."""
        self.url = base_url(url)
        if key and not re.fullmatch(r"[\x21-\x7e]+", key):
            raise BadSetting("The upstream key holds a space or a character that no key has.", "Set it again.")
        self._key = key
        quoted = json.dumps(key)[1:-1]
        says = {key, quoted, quoted.replace("/", "\\/")} if len(key) >= SECRET else set()
        self._says = [said.encode() for said in says]
        self.timeouts = timeouts or Timeouts()
        self._allowed = allowed
        self._client: Client | None = None
        parts = urlsplit(self.url)
        tls = parts.scheme == "https"
        self._origin = (parts.hostname or "", parts.port or (443 if tls else 80), tls)
        self._path = parts.path
        # What stands on all that goes up. Plain bytes, so that the ledger can read the answer while it passes.
        fixed = f"Host: {parts.netloc}\r\nAccept-Encoding: identity\r\n{HOP}: 1\r\n"
        self._fixed = fixed + (f"Authorization: Bearer {key}\r\n" if key else "")
        self._breaks = self._fixed.count("\n")

    @property
    def local(self) -> bool:
        """Whether the host is this machine."""
        return urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")

    @property
    def keyed(self) -> bool:
        """Whether it is asked with a key."""
        return bool(self._key)

    def __repr__(self) -> str:
        return f"HttpUpstream({self.url!r}, key={'***' if self._key else 'none'})"

    def redact(self, data: bytes) -> bytes:
        """`data` without the key: plain, and as JSON may write it."""
        for said in self._says:
            data = data.replace(said, b"[key]")
        return data

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, whole: bool = False
    ) -> AbstractAsyncContextManager[Reply]:
        """Send `body` to `path` ("/v1/...", with its query)."""
        once = method == "POST" and path.partition("?")[0] not in AGAIN
        return _Sending(self, self._head(method, path, headers, body) + body, whole, once)

    async def ask(self, data: bytes, whole: bool, once: bool = False) -> Answer:
        """A request's bytes to the host; `once`: never sent again. Raises UpstreamFailed."""
        if self._client is None:
            times = self.timeouts
            tick = min(times.connect, times.first, times.between, times.total) / 8
            self._client = Client(connect=times.connect, allowed=self._allowed, tick=tick)
        times, now = self.timeouts, self._client.loop.time()
        end = now + times.total
        until = end if whole else now + times.first  # for the headers and the first bytes together
        try:
            answer = await self._client.ask(self._origin, data, until=until, between=times.between, end=end, once=once)
        except AskFailed as error:
            if error.kind == "timeout":
                raise UpstreamFailed(504, "upstream_timeout", "The upstream did not answer in time.") from None
            message = f"The upstream can't be reached ({error.word or error.kind})."
            raise UpstreamFailed(502, "upstream_unreachable", message) from None
        if answer.status in (301, 302, 303, 307, 308):
            answer.close()
            message = f"The upstream answered {answer.status}, a redirect; freehold follows none."
            raise UpstreamFailed(502, "upstream_redirects", message)
        return answer

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _head(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._path}{path.removeprefix('/v1')} HTTP/1.1\r\n", self._fixed]
        for name in UP:
            value = headers.get(name)
            if value is not None:
                lines.append(f"{name}: {value}\r\n")
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        head = "".join(lines)
        breaks = len(lines) - 1 + self._breaks
        if head.count("\n") != breaks or head.count("\r") != breaks:
            raise ValueError("a path or a header holds a line break")
        return head.encode("utf-8", "surrogateescape")


class _Sending:
    """What `send` gives: entered it is the reply, left it lets the connection go."""

    __slots__ = ("_answer", "_data", "_once", "_upstream", "_whole")

    def __init__(self, upstream: HttpUpstream, data: bytes, whole: bool, once: bool) -> None:
        self._once = once
        self._upstream = upstream
        self._data = data
        self._whole = whole
        self._answer: Answer | None = None

    async def __aenter__(self) -> Reply:
        answer = self._answer = await self._upstream.ask(self._data, self._whole, self._once)
        back = _headers_back(answer.raw, self._upstream.redact)
        return Reply(answer.status, back, _Reader(answer).read, answer.framed, self._upstream.redact)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        if self._answer is not None:
            self._answer.close()  # one that was read to its end has given its connection back already


class _Reader:
    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def read(self) -> bytes:
        try:
            return await self._answer.read()
        except AskFailed as error:
            if error.kind == "timeout":
                message = "The upstream stopped in the middle of its answer."
                raise UpstreamFailed(504, "upstream_timeout", message) from None
            raise UpstreamFailed(502, "upstream_interrupted", "The upstream broke off its answer.") from None


def _headers_back(raw: Sequence[tuple[bytes, bytes]], redact: Callable[[bytes], bytes]) -> Headers:
    # surrogates stand for bytes that are no UTF-8; they are written as they came
    named: set[str] = set()
    found: Headers = []
    for said, value in raw:
        name = name_of(said)
        if name == "connection":
            named |= {part.strip().lower() for part in decode(value).split(",")}
        elif name not in NOT_BACK and not name.startswith("access-control-"):
            text = decode(redact(value))
            if not CONTROL.search(text):
                found.append((said.decode("latin-1"), text))
    return [(name, value) for name, value in found if name.lower() not in named] if named else found
