"""The server's side: what is refused, what is cut off, who makes room, and that a client's leaving is noticed."""

from __future__ import annotations

import asyncio
import itertools
import time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.http.request import Request, Response
from freehold.http.server import AT_ONCE

from .conftest import closing, echo, serving, talk, until

HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"
REQUESTS = [
    b"GET /one HTTP/1.1\r\nHost: x\r\nX-Tag: a\r\n\r\n",
    b"\r\nPOST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Tag: b\r\n\r\nhello",
    b"POST /three HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\n\r\n\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n",
    b"POST /four HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"POST /five HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /six HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
]
SAID = [
    b"GET /one a ",
    b"POST /two b hello",
    b"POST /three - \r\n\r\nabc",
    b"POST /four - ",
    b"POST /five - ",
    b"GET /six - ",
]


def bodies(answers: bytes) -> list[bytes]:
    found = []
    while answers:
        head, _, answers = answers.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        found.append(answers[:length])
        answers = answers[length:]
    return found


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, sum(map(len, REQUESTS)) - 1), max_size=12, unique=True))
def test_however_the_bytes_come_the_answers_are_the_same(cuts: list[int]) -> None:
    data = b"".join(REQUESTS)
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]

    async def run() -> bytes:
        async with serving() as (_, port):
            return await talk(port, *pieces, wait=0.0005 if len(pieces) > 1 else 0.0)

    assert bodies(asyncio.run(run())) == SAID


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: 0x3\r\n\r\nabc",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
        HEAD + b"Content-Length : 3\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"A: b\r\n c\r\n\r\n",
        HEAD + b"A: b\r\n\tc\r\n\r\n",
        HEAD + b" A: b\r\n\r\n",
        HEAD + b"A: b\nB: c\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        HEAD + b"A: b\rB: c\r\n\r\n",
        HEAD + b"A: b\x00c\r\n\r\n",
        HEAD + b"A\x00: b\r\n\r\n",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b": empty\r\n\r\n",
        HEAD + b"Host: y\r\n\r\n",
        HEAD + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        HEAD + b"Upgrade: h2c\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ],
)
async def test_what_two_parsers_could_read_differently_is_refused(request_: bytes) -> None:
    """With 400, before any handler sees it, and the connection is closed: a request behind it is never answered."""
    async with serving() as (_, port):
        answer = await talk(port, request_ + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"smuggled" not in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcX0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"fffffffffffffffff\r\n",
    ],
)
async def test_chunks_that_are_none(body: bytes) -> None:
    async with serving() as (_, port):
        answer = await talk(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


async def test_trailers_without_end_are_cut() -> None:
    async with serving() as (_, port):
        chunk = HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        answer = await talk(port, chunk + b"A: " + b"x" * 60_000)
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_an_old_client_and_a_head() -> None:
    async with serving() as (_, port):
        old = await talk(port, b"GET /a HTTP/1.0\r\nHost: x\r\n\r\n")
        head = await talk(port, b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert old.endswith(b"GET /a - ")
    assert b"Content-Length: 10\r\n" in head
    assert head.endswith(b"\r\n\r\n")


async def test_a_body_has_its_time() -> None:
    async with serving(body_seconds=0.4, body_least=1000) as (_, port):
        silent = asyncio.create_task(talk(port, HEAD + b"Content-Length: 9\r\n\r\n"))
        steady = HEAD + b"Content-Length: 100000\r\n\r\n"
        slowly = asyncio.create_task(talk(port, steady, *[b"x" * 10_000] * 10, wait=0.1))
        assert (await silent).endswith(b"body_too_slow")
        assert (await silent).startswith(b"HTTP/1.1 408 ")
        # one second more for each 64 KiB: 100,000 bytes have 1.9 s
        assert (await asyncio.wait_for(reading(port, steady, b"x" * 50_000, b"x" * 50_000), 8.0)).count(b"x") == 100_000
        slowly.cancel()
        await asyncio.gather(slowly, return_exceptions=True)


async def reading(port: int, *pieces: bytes) -> bytes:
    """Pieces 0.3 s apart, on a connection that closes after its answer."""
    head, *rest = pieces
    return await talk(port, head.replace(b"Host: x", b"Host: x\r\nConnection: close"), *rest, wait=0.3)


async def test_a_client_that_goes_away_ends_its_call() -> None:
    ended: list[str] = []

    async def slow(request: Request) -> Response | None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append(request.path)
            raise
        return None

    async with serving(slow) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.running)
        writer.close()
        await until(lambda: ended)
        assert ended == ["/gone"]
        assert not server.running


async def test_what_comes_early_is_bounded() -> None:
    """While a request runs, further ones are kept up to a bound and then not read."""
    go = asyncio.Event()

    async def wait(request: Request) -> Response:
        await go.wait()
        return await echo(request)

    async with serving(wait) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        one = b"POST /n HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"y" * 1000
        writer.write(one * 2000)
        await until(lambda: server.running)
        await asyncio.sleep(0.2)
        (connection,) = server.connections
        assert len(connection._buffer) < 1 << 20
        go.set()
        got = 0
        while got < 2000:
            got += (await asyncio.wait_for(reader.read(1 << 20), 10.0)).count(b"HTTP/1.1 200")
        writer.close()


async def test_a_stalled_reader_costs_no_more_than_the_buffer() -> None:
    sent = 0

    async def stream(request: Request) -> None:
        nonlocal sent
        await request.begin(200, [])
        while sent < 256 << 20:
            await request.write(b"z" * 100_000)
            sent += 100_000
        await request.end()

    async with serving(stream, write_seconds=1.0) as (server, port):
        before = psutil.Process().memory_info().rss
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read(10)
        await asyncio.sleep(0.5)
        assert psutil.Process().memory_info().rss - before < 32 << 20
        assert sent < 32 << 20  # what the system's own buffers take, and ours
        await until(lambda: not server.connections)
        writer.close()


async def test_readers_that_stalled_together_are_closed_a_few_at_a_time() -> None:
    """Each end costs a row: who asks meanwhile is served between them."""
    left: list[int] = []

    async def stream(request: Request) -> None:
        await request.begin(200, [])
        try:
            while True:
                await request.write(b"z" * 100_000)
        finally:
            left.append(len(server.connections))

    async with serving(stream, write_seconds=1.0) as (server, port), closing() as opened:
        for _ in range(9):
            _, writer = await opened(port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: len(server.connections) == 9 and all(one.stalled for one in server.connections))
        now = asyncio.get_running_loop().time()
        for one in server.connections:
            one.check(now)
            one._moved = now - server.limits.write_seconds
        await until(lambda: len(left) == 9)
        assert left[0] >= 9 - AT_ONCE


async def test_the_slowest_make_room() -> None:
    """Of those that ask nothing the one that waits longest goes, and of those that came in one turn of the loop (their
    time is the same) the first; who asks is answered."""
    async with serving(connections=3) as (server, port), closing() as opened:
        idle = [await opened(port) for _ in range(3)]
        await until(lambda: len(server.connections) == 3)
        since = {connection.since for connection in server.connections}
        for connection in server.connections:
            connection.since = min(since)
        for tag in (b"1", b"2"):
            answer = await talk(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Tag: " + tag + b"\r\n\r\n")
            assert answer.endswith(b"GET / " + tag + b" ")
        assert await asyncio.wait_for(idle[0][0].read(), 5.0) == b""


async def test_stop_closes_the_idle_at_once_and_waits_for_the_rest() -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.5)
        return Response(200, b"late")

    async with serving(slow) as (server, port), closing() as opened:
        idle, _ = await opened(port)
        busy, busy_writer = await opened(port)
        busy_writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.running)
        began = time.monotonic()
        stopping = asyncio.create_task(server.stop())
        assert await asyncio.wait_for(idle.read(), 5.0) == b""
        answer = await asyncio.wait_for(busy.read(), 5.0)
        await stopping
        assert answer.endswith(b"late")
        assert b"Connection: close\r\n" in answer
        assert time.monotonic() - began < 5.0
        with pytest.raises(ConnectionRefusedError):
            await opened(port)


async def test_an_answer_reaches_a_client_that_is_still_sending() -> None:
    async def refuse(request: Request) -> Response:
        return Response(413, b"no")

    async with serving(refuse) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 50000000\r\n\r\n")
        for _ in range(50):
            writer.write(b"x" * 20_000)
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(reader.read(), 5.0)).endswith(b"no")
        writer.close()


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_has_no_bytes_behind_its_head(status: int) -> None:
    async def handler(request: Request) -> Response | None:
        if request.path != "/none":
            return await echo(request)
        await request.begin(status, [])
        await request.write(b"what nobody may read")
        await request.end()
        return None

    async with serving(handler) as (_, port):
        said = await talk(port, b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", REQUESTS[0], REQUESTS[5], wait=0.05)
    head, _, rest = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"chunked" not in head
    assert rest.startswith(b"HTTP/1.1 200 OK")


async def test_who_sends_much_ahead_and_goes_ends_its_call_too() -> None:
    """A connection that nobody reads from doesn't tell when its client goes."""
    ended = asyncio.Event()

    async def handler(request: Request) -> Response | None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.set()
            raise
        return Response(200, b"")

    async with serving(handler) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUESTS[0] + b"x" * (70 << 10))
        await until(lambda: server.running)
        writer.close()
        await asyncio.wait_for(ended.wait(), 5)
