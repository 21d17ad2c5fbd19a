"""A request sent again under the same Idempotency-Key is answered once: by the first one's answer.

    Idempotency-Key: order-17    not seen          → dispatched; its answer is kept for 24 h
                                 same body         → the kept answer, or waits for the one under way
                                 another body      → 422
    by client key: two clients' equal keys are two keys

Whoever asked first may go: the call goes on while anybody waits, and to its end if nobody does, since a client that
lost its connection sends the same key again and shall not pay twice. What failed (5xx, 429, 408, 409, 425, an error) is
told to all that wait and then forgotten. In memory: a restart forgets, and each worker process has keys of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from freehold.http.head import Pairs
from freehold.http.request import Request, Response

__all__ = ["HEADER", "Conflict", "Dispatched", "Full", "Gather", "Repeats"]

HEADER = "idempotency-key"
SECONDS = 24 * 3600.0
ENTRIES = 10_000
BYTES = 64 << 20
LONGEST = 255  # characters of a key
LONGEST_ANSWER = 16 << 20  # bytes of a stream
TRANSIENT = (408, 409, 425, 429)
OVERHEAD = 400  # bytes of an entry beside its answer


class Dispatched(Protocol):
    """What is kept: an answer that has come whole."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...


class Gather:
    """A way that keeps what is written, so that a stream under a key becomes one answer: its `request` stands in the
    client's place while the call is made, and `response` has it all afterwards."""

    def __init__(self, request: Request) -> None:
        self.peer = request.peer
        self.request = Request(
            self, request.method, request.target, request.headers, request.content_length, request.old
        )
        self._status = 502
        self._headers: Pairs = []
        self._body = bytearray()
        self._torn = False

    @property
    def response(self) -> Response:
        """What was written; 502 where it was broken off, so that it is not kept."""
        return Response(502 if self._torn else self._status, bytes(self._body), self._headers)

    async def read(self, most: int) -> bytes:
        return b""  # the body was read before

    async def begin(self, status: int, headers: Pairs) -> None:
        self._status, self._headers = status, headers

    async def write(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > LONGEST_ANSWER:
            raise ConnectionResetError("the answer is too long to be kept under an Idempotency-Key")

    async def end(self) -> None:
        pass

    def abort(self) -> None:
        self._torn = True


A = TypeVar("A", bound=Dispatched)


class Conflict(Exception):
    """The key was sent with another body: 422. Or it is no key: 400 (`http`). `code` is for the error's body."""

    def __init__(self, http: int, code: str, message: str) -> None:
        super().__init__(message)
        self.http = http
        self.code = code
        self.message = message


class Full(Exception):
    """As many keys are under way as may be kept: 429."""


@dataclass(slots=True)
class _Kept(Generic[A]):
    digest: bytes
    call: asyncio.Task[A] | None
    answer: A | None = None
    until: float = 0.0
    size: int = field(default=OVERHEAD)


class Repeats(Generic[A]):
    """Of one process, on one event loop."""

    def __init__(
        self,
        *,
        seconds: float = SECONDS,
        entries: int = ENTRIES,
        size: int = BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.repeated = 0
        self.bytes = 0
        self._seconds = seconds
        self._entries = entries
        self._size = size
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], _Kept[A]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def once(
        self,
        tenant: str,
        key: str,
        body: bytes,
        dispatch: Callable[[], Awaitable[A]],
        keep: Callable[[A], bool] = lambda answer: True,
    ) -> tuple[A, bool]:
        """The answer, and whether it is a repeat's. `dispatch` makes the call: it runs in a task of its own, which the
        client that goes away does not end. `keep` says whether an answer with a good status is a whole one (a stream
        may break off, an error may come as 200). Raises Conflict, Full, and what `dispatch` raises."""
        if not key or len(key) > LONGEST or not key.isascii() or not key.isprintable():
            raise Conflict(
                400, "idempotency_key_invalid", f"Idempotency-Key is not 1 to {LONGEST} printable ASCII characters."
            )
        name, digest = (tenant, key), hashlib.sha256(body).digest()
        self._expire()
        kept = self._kept.get(name)
        if kept is None:
            kept = self._begin(name, digest, dispatch, keep)
            return await asyncio.shield(_running(kept)), False
        if kept.digest != digest:
            raise Conflict(
                422, "idempotency_key_reused", "This Idempotency-Key was sent with another body. Send a new key."
            )
        self.repeated += 1
        if kept.answer is not None:
            return kept.answer, True
        return await asyncio.shield(_running(kept)), True

    async def close(self) -> None:
        """End what is under way."""
        calls = [kept.call for kept in self._kept.values() if kept.call is not None]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def _begin(
        self,
        name: tuple[str, str],
        digest: bytes,
        dispatch: Callable[[], Awaitable[A]],
        keep: Callable[[A], bool],
    ) -> _Kept[A]:
        self._make_room()

        async def run() -> A:
            return await dispatch()

        kept = _Kept[A](digest, asyncio.get_running_loop().create_task(run()))
        self._kept[name] = kept
        self.bytes += kept.size
        _running(kept).add_done_callback(lambda call: self._done(name, kept, keep, call))
        return kept

    def _done(self, name: tuple[str, str], kept: _Kept[A], keep: Callable[[A], bool], call: asyncio.Task[A]) -> None:
        kept.call = None
        failed = call.cancelled() or call.exception() is not None  # looked at: nobody may be waiting for it any more
        if failed or (answer := call.result()).status >= 500 or answer.status in TRANSIENT or not keep(answer):
            self._drop(name)
            return
        kept.answer, kept.until = answer, self._clock() + self._seconds
        kept.size += len(answer.body)
        self.bytes += len(answer.body)
        self._kept.move_to_end(name)
        self._make_room(0)

    def _make_room(self, more: int = 1) -> None:
        """Forget the oldest answers, never a call that is under way. Raises Full."""
        for name in [name for name, kept in self._kept.items() if kept.call is None]:
            if len(self._kept) + more <= self._entries and self.bytes <= self._size:
                return
            self._drop(name)
        if more and len(self._kept) + more > self._entries:
            raise Full

    def _expire(self) -> None:
        """The oldest answers lie in front, behind at most the calls that are under way."""
        now = self._clock()
        old = []
        for name, kept in self._kept.items():
            if kept.call is None:
                if kept.until > now:
                    break
                old.append(name)
        for name in old:
            self._drop(name)

    def _drop(self, name: tuple[str, str]) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.bytes -= kept.size


def _running(kept: _Kept[A]) -> asyncio.Task[A]:
    assert kept.call is not None, "an entry without an answer is under way"
    return kept.call
