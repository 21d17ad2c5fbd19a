"""A server with a small handler, and an upstream that speaks raw bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from freehold.http.request import BodyRefused, Request, Response
from freehold.http.server import Server
from freehold.project.gateway import Limits


@pytest.hookimpl(optionalhook=True)  # where pytest-asyncio is too old for it, asyncio's own loop is tested
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def echo(request: Request) -> Response:
    """Says what it was asked, so that a request that was read wrongly is seen."""
    try:
        body = await request.read(1 << 20)
    except BodyRefused as error:
        return Response(error.status, error.code.encode())
    said = f"{request.method} {request.target} {request.headers.get('X-Tag', '-')} ".encode()
    return Response(200, said + body)


@asynccontextmanager
async def serving(
    handler: Callable[[Request], Awaitable[Response | None]] = echo, **limits: float
) -> AsyncIterator[tuple[Server, int]]:
    server = Server(handler, Limits(**limits))  # type: ignore[arg-type]
    port = await server.listen("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.stop(seconds=0.0)


async def talk(port: int, *pieces: bytes, wait: float = 0.0) -> bytes:
    """Send pieces, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(wait)
        return await asyncio.wait_for(reader.read(), 10.0)
    finally:
        writer.close()


Opened = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def closing() -> AsyncIterator[Opened]:
    """Opens connections to a port and closes them all, also where a test fails: one that is left open says so when it
    is collected, in the middle of another test."""
    writers: list[asyncio.StreamWriter] = []

    async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    try:
        yield opened
    finally:
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_host(answer: Answering) -> AsyncIterator[tuple[str, int, bool]]:
    """A host that does with each connection what `answer` does; its origin."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield "127.0.0.1", server.sockets[0].getsockname()[1], False
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def until(done: Callable[[], object]) -> None:
    """Wait, at most five seconds, for something that another task brings about."""
    async with asyncio.timeout(5.0):
        while not done():  # noqa: ASYNC110 (there is no event to wait for: what is watched is the server itself)
            await asyncio.sleep(0.01)
