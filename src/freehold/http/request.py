"""A request, and an answer in one piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from freehold.http.head import Headers, Pairs

__all__ = ["BodyRefused", "Handler", "Refuse", "Request", "Response", "Way"]


class BodyRefused(Exception):
    """Why a body was not read: 413 too long, 408 too slow, 400 not what its headers say. The connection is closed
    after the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(slots=True)
class Response:
    """An answer in one piece. `close`: the connection ends after it."""

    status: int = 200
    body: bytes = b""
    headers: Pairs = field(default_factory=list)
    close: bool = False


class Way(Protocol):
    """The connection, as a request sees it."""

    @property
    def peer(self) -> str: ...

    async def read(self, most: int) -> bytes: ...

    async def begin(self, status: int, headers: Pairs) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def end(self) -> None: ...

    def abort(self) -> None: ...


class Request:
    """`target` is as sent, `path` and `query` its parts; `content_length` is None where the client doesn't say."""

    __slots__ = ("_way", "content_length", "headers", "method", "old", "path", "query", "target")

    def __init__(self, way: Way, method: str, target: str, headers: Headers, length: int | None, old: bool) -> None:
        self._way = way
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.content_length = length
        self.old = old  # HTTP/1.0

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._way.peer

    async def read(self, most: int) -> bytes:
        """The whole body. Raises BodyRefused where it has more than `most` bytes, comes too slowly or is broken."""
        return await self._way.read(most)

    async def begin(self, status: int, headers: Pairs) -> None:
        """Begin an answer in pieces. Raises ConnectionError where the client is gone, as do write and end."""
        await self._way.begin(status, headers)

    async def write(self, data: bytes) -> None:
        """Send a piece; waits only where the client is slower than we are, by more than Limits.buffer_kib."""
        await self._way.write(data)

    async def end(self) -> None:
        """The answer is whole."""
        await self._way.end()

    def abort(self) -> None:
        """Close the connection at once: the client sees that the answer is not whole."""
        self._way.abort()


Handler = Callable[[Request], Awaitable[Response | None]]  # None: it has answered in pieces
Refuse = Callable[[int, str, str], Response]  # status, code and message of a request that no handler sees
