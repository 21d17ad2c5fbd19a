"""The client's side: connections used again, stale ones, answers that break off, deadlines, reading ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from freehold.http.client import Answer, AskFailed, Client, Origin

from .conftest import raw_host, until

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def client(**options: object) -> AsyncIterator[Client]:
    made = Client(tick=0.05, **options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


async def ask(one: Client, origin: Origin, first: float = 5.0, between: float = 5.0) -> Answer:
    now = one.loop.time()
    return await one.ask(origin, ASK, until=now + first, between=between, end=now + 30.0)


async def whole(answer: Answer) -> bytes:
    found = b""
    while chunk := await answer.read():
        found += chunk
    return found


class Host:
    """Answers each request on a connection with `data`; counts the connections."""

    def __init__(self, data: bytes, each: int = 1000) -> None:
        self.data = data
        self.each = each
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self.each):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.data)
            await writer.drain()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "data",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
async def test_a_connection_is_used_again(data: bytes) -> None:
    host = Host(data)
    async with raw_host(host) as origin, client() as one:
        for _ in range(5):
            answer = await ask(one, origin)
            assert (answer.status, await whole(answer), answer.framed) == (200, b"ok", True)
    assert host.connections == 1


async def test_a_stale_connection_is_no_failure() -> None:
    """The host closes after each answer without saying so."""
    host = Host(OK, each=1)
    async with raw_host(host) as origin, client() as one:
        for _ in range(4):
            assert await whole(await ask(one, origin)) == b"ok"
    assert host.connections == 4


async def test_a_request_is_sent_once_more_only_where_nothing_came() -> None:
    seen = 0

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await reader.readuntil(b"\r\n\r\n")
        seen += 1
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        seen += 1
        writer.write(b"HTTP/1.1 2")
        await writer.drain()

    async with raw_host(host) as origin, client() as one:
        assert await whole(await ask(one, origin)) == b"ok"
        with pytest.raises(AskFailed, match="unreachable"):
            await ask(one, origin)
    assert seen == 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
async def test_half_an_answer_is_no_answer(data: bytes) -> None:
    async with raw_host(Host(data, each=1)) as origin, client() as one:
        answer = await ask(one, origin)
        with pytest.raises(AskFailed, match="interrupted"):
            await whole(answer)


async def test_an_answer_without_length_ends_with_its_connection() -> None:
    async with raw_host(Host(b"HTTP/1.1 200 OK\r\n\r\nall of it", each=1)) as origin, client() as one:
        answer = await ask(one, origin)
        assert (await whole(answer), answer.framed) == (b"all of it", False)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_answer(data: bytes) -> None:
    async with raw_host(Host(data, each=1)) as origin, client() as one:
        with pytest.raises(AskFailed, match="unreachable"):
            await ask(one, origin)


async def test_more_than_was_asked_for_is_never_the_next_answer() -> None:
    host = Host(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    async with raw_host(host) as origin, client() as one:
        for _ in range(3):
            assert await whole(await ask(one, origin)) == b"ok"


async def test_deadlines() -> None:
    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_host(silent) as origin, client() as one:
        with pytest.raises(AskFailed, match="timeout"):
            await ask(one, origin, first=0.2)
    async with raw_host(host) as origin, client() as one:
        answer = await ask(one, origin, between=0.2)
        assert await answer.read() == b"half"
        with pytest.raises(AskFailed, match="timeout"):
            await answer.read()


async def test_leaving_early_closes_the_connection() -> None:
    gone = asyncio.Event()

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        try:
            await reader.read()
        finally:
            gone.set()

    async with raw_host(host) as origin, client() as one:
        answer = await ask(one, origin)
        assert await answer.read() == b"half"
        answer.close()
        await asyncio.wait_for(gone.wait(), 5.0)
        asking = asyncio.create_task(ask(one, origin))
        await until(lambda: asking.done() or one.waits)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_no_more_is_read_ahead_than_a_reader_takes() -> None:
    sent = 0

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n")
        while sent < 30_000_000:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()

    async with raw_host(host) as origin, client() as one:
        answer = await ask(one, origin)
        await asyncio.sleep(0.3)
        assert sent < 20_000_000  # what the system's own buffers take, and 256 KiB
        got = 0
        while chunk := await answer.read():
            got += len(chunk)
    assert got == 30_000_000


async def test_an_address_that_is_not_allowed_is_not_asked() -> None:
    host = Host(OK)
    shown: list[str] = []

    def allowed(ip: str) -> bool:
        shown.append(ip)
        return False

    async with raw_host(host) as origin, client(allowed=allowed) as one:
        with pytest.raises(AskFailed, match="AddressNotAllowed"):
            await ask(one, origin)
        with pytest.raises(AskFailed, match="AddressNotAllowed"):
            await ask(one, ("localhost", origin[1], False))
    assert "127.0.0.1" in shown
    assert host.connections == 0
