"""True hosts for a fleet: small HTTP servers over raw sockets, so that every byte, pause and end can be had."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from freehold import wire
from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Host, Policy
from freehold.engines.upstream import HttpUpstream, Timeouts
from freehold.nouns import Tokens

QUICK = Timeouts(connect=1.0, first=0.4, between=0.4, total=5.0)
ABORT, HANG = "abort", "hang"  # reset the connection; say nothing more
Piece = bytes | str

CHAT = "/v1/chat/completions"
HEAD = {"content-type": "application/json", "authorization": "Bearer sk-client"}


def asked(stream: bool = False, **more: Any) -> bytes:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    return wire.dumps(body | ({"stream": True} if stream else {}) | more)


def answer(name: str, text: str | None = None) -> bytes:
    return wire.dumps(wire.completion("m", text or f"I am {name}", Tokens(3, 2), f"chatcmpl-{name}", 1_790_000_000))


def event(name: str, delta: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": reason}]
    head = {"id": f"chatcmpl-{name}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + wire.dumps(head | {"choices": choices} | more) + b"\n\n"


def role(name: str) -> bytes:
    return event(name, {"role": "assistant", "content": ""})


def said(name: str, *texts: str) -> bytes:
    return b"".join(event(name, {"content": text}) for text in texts)


DONE = b"data: [DONE]\n\n"


def streamed(name: str) -> list[Piece]:
    return [OK_STREAM, *map(chunk, [role(name), said(name, "I am", f" {name}"), event(name, {}, "stop"), DONE]), LAST]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST = b"0\r\n\r\n"
OK_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json", *more: str) -> list[Piece]:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + body]


Play = Callable[[str, dict[str, str], bytes], Sequence[Piece]]


@dataclass
class Raw:
    """A host that plays what it is told, call by call; `seen` keeps path, headers and body, `gone` counts clients that
    hung up on it."""

    name: str
    play: Play
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    gone: int = 0
    url: str = ""
    pause: float = 0.0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> Raw:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("transfer-encoding") == "chunked":
            while size := int((await reader.readline()).strip() or b"0", 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        path = head[0].split(" ")[1]
        self.seen.append((path, headers, body))
        for piece in self.play(path, headers, body):
            if piece == ABORT:
                writer.transport.abort()
                return False
            if piece == HANG:
                with suppress(ConnectionError):
                    await reader.read()
                self.gone += 1
                return False
            assert isinstance(piece, bytes)
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(self.pause)
        return True


def good(name: str) -> Play:
    """Answers chat calls, whole or streamed, and any other route."""

    def play(path: str, headers: Mapping[str, str], body: bytes) -> Sequence[Piece]:
        if not path.startswith(CHAT):
            return whole(wire.dumps({"object": "list", "data": [], "from": name}))
        return streamed(name) if json.loads(body).get("stream") else whole(answer(name))

    return play


Hosts = Callable[..., Awaitable[list[Raw]]]


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    """`await hosts(a=play, b=play)` starts one host each."""
    started: list[Raw] = []

    async def start(**plays: Play) -> list[Raw]:
        new = [await Raw(name, play).start() for name, play in plays.items()]
        started.extend(new)
        return new

    yield start
    for one in started:
        await one.stop()


@dataclass
class Clock:
    """A clock that stands until it is moved, and a sleep that moves it; `draw` is always in the middle."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def draw(self) -> float:
        return 0.5

    def policy(self, **more: Any) -> Policy:
        return Policy(clock=self, draw=self.draw, sleep=self.sleep, **more)


def up(raw: Raw, key: str = "sk-ours-secret") -> HttpUpstream:
    return HttpUpstream(raw.url, key, timeouts=QUICK)


def fleet(raws: Sequence[Raw], clock: Clock, policy: Policy | None = None, **more: Any) -> Fleet:
    return Fleet([Host(raw.name, up(raw), **more) for raw in raws], policy or clock.policy())


@dataclass
class Got:
    """What a caller saw: `error` is what ended it, "" where it came to its end."""

    status: int
    body: bytes
    host: str = ""
    error: str = ""
    http: int = 0
    tries: int = 0
    redacted: bool = False
    headers: dict[str, str] = field(default_factory=dict)


async def call(
    upstream: Any, body: bytes | None = None, path: str = CHAT, method: str = "POST", headers: Any = None, **more: Any
) -> Got:
    from freehold.engines.upstream import UpstreamFailed

    body = asked() if body is None else body
    more.setdefault("whole", b'"stream":true' not in body)
    got = Got(0, b"")
    try:
        async with upstream.send(method, path, HEAD if headers is None else headers, body, **more) as reply:
            got.status, got.host, got.tries, got.redacted = reply.status, reply.host, reply.tries, reply.redacted
            got.headers = {k.lower(): v for k, v in reply.headers}
            while data := await reply.read():
                got.body += data
    except UpstreamFailed as failed:
        got.error, got.http = failed.code, failed.http
    return got


async def until(done: Callable[[], object]) -> None:
    """Wait, at most five seconds, for something that a host sees."""
    async with asyncio.timeout(5.0):
        while not done():  # noqa: ASYNC110 (there is no event to wait for: what is watched is another socket's end)
            await asyncio.sleep(0.005)
