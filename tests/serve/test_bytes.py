"""An upstream that speaks raw HTTP: whatever its bytes are, they go back as they came, and the row says what it can."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from freehold import wire
from freehold.engines.upstream import HttpUpstream, Timeouts
from freehold.nouns import Tokens
from freehold.project import Project
from freehold.project.gateway import Limits
from freehold.serve.away import relay

from .conftest import QUICK, Start, ledger, request
from .test_door import raw, talk
from .test_up import post

KEY = "sk-upstream/secret"
Answer = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
UP = wire.dumps(request("sing to me", stream=True))
ONE = wire.dumps(request("sing to me"))


@asynccontextmanager
async def speaking(answer: Answer, timeouts: Timeouts = QUICK) -> AsyncIterator[HttpUpstream]:
    """An upstream that reads a request and then does what `answer` does; the connection closes after it."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        try:
            await answer(writer, head)
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield HttpUpstream(f"http://127.0.0.1:{port}", KEY, timeouts=timeouts)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def saying(data: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(data)

    return answer


def whole(body: bytes, code: bytes = b"200 OK", more: bytes = b"", kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 " + code + b"\r\nContent-Type: " + kind + b"\r\n" + more
    return head + b"Connection: close\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def event(text: str | None = "hi", finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + wire.dumps({"id": "x", "model": "m", "choices": [choice]} | fields) + b"\n\n"


DONE = b"data: [DONE]\n\n"
NULL = {"index": None, "delta": {"content": "hello"}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (event(choices=[], usage={"prompt_tokens": 1}) + DONE, "failed"),
        (event(choices=[NULL]) + DONE, "complete"),
        (event("a") + DONE, "complete"),
        (event("a") + event("", "stop"), "complete"),
        ((event("a") + event("", "stop") + DONE).replace(b"\n", b"\r"), "complete"),
        ((event("a") + event("", "stop") + DONE).replace(b"\n", b"\r\n"), "complete"),
        (event("a") + event("", "stop") + b"event: done\n" + DONE + b": bye\n\n: tail", "complete"),
        (event("a") + event("", "stop") + b"data: [DONE]", "complete"),
        (event("a") + b"data: {not json}\n\n" + DONE, "partial"),
        (event(object="text_completion", choices=[{"text": "hi", "index": 0, "finish_reason": "stop"}]) + DONE, None),
        (event("data: [DONE]\n\n", "stop") + DONE, "complete"),
    ],
    ids=range(11),
)
async def test_a_stream_that_ends_goes_back_as_it_came(
    project: Project, start: Start, body: bytes, kept: str | None
) -> None:
    async with speaking(saying(SSE + body)) as up, start(up) as app:
        got = await post(app.port, UP)
    assert (got[0], got[2]) == (200, body)
    own = ledger(project)[0]["freehold"]
    assert kept is None or own["status"] == kept
    assert "interrupted" not in own["reason"]


async def test_a_stream_that_is_too_long_to_keep(
    project: Project, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LONGEST", 1 << 20)
    body = event("a" * 100_000) * 15 + event("", "stop") + event(choices=[], usage={}) + DONE
    async with speaking(saying(SSE + body)) as up, start(up) as app:
        got = await post(app.port, UP)
    assert (got[0], got[2]) == (200, body)
    row = ledger(project)[0]
    assert row["freehold"]["status"] == "complete"
    assert row["freehold"]["reason"].endswith("too long to keep")
    assert len(json.dumps(row)) < 3000
    assert wire.call_from_row(row).answer is None  # no evidence


@pytest.mark.parametrize("body", [event("a"), b"", event("a") + b"data: {"], ids=["open", "empty", "torn"])
async def test_a_stream_that_just_stops_is_broken(project: Project, start: Start, body: bytes) -> None:
    async with speaking(saying(SSE + body)) as up, start(up) as app:
        got = await post(app.port, UP)
    if body:
        assert b'event: error\ndata: {"error"' in got[2]
    else:  # nothing of an answer has come: another host may be tried, and a status can still say that there is none
        assert (got[0], json.loads(got[2])["error"]["code"]) == (502, "upstream_interrupted")
    assert b"[DONE]" not in got[2]
    assert "broke off" in ledger(project)[0]["freehold"]["reason"] + got[2].decode()


# an end that is no end


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("by", ["reset", "close"])
async def test_half_an_answer_without_a_length(project: Project, start: Start, by: str) -> None:
    async def answer(writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"choi')
        await writer.drain()
        await asyncio.sleep(0.1)
        if by == "reset":
            reset(writer)

    async with speaking(answer) as up, start(up) as app:
        code, _, body = await post(app.port, ONE)
    assert (code, json.loads(body)["error"]["code"]) == (502, "upstream_interrupted")
    assert ledger(project)[0]["freehold"]["status"] == "failed"


async def test_another_route_that_is_reset(start: Start) -> None:
    async def answer(writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nConnection: close\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.1)
        reset(writer)

    async with speaking(answer) as up, start(up) as app:
        got = await talk(app.port, raw(app, path="/v1/audio/speech"))
    assert not got.endswith(b"0\r\n\r\n")  # chunked, and never ended


async def test_headers_go_back_in_their_own_bytes(start: Start) -> None:
    more = b"X-Latin: caf\xe9\r\nX-Utf: caf\xc3\xa9\r\nX-Dup: a\r\nX-Dup: b\r\nX-Long: " + b"y" * 20_000 + b"\r\n"
    for body in (whole(wire.dumps({}), more=more), SSE.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n") + DONE):
        async with speaking(saying(body)) as up, start(up) as app:
            got = await talk(app.port, raw(app, ONE if b"json" in body[:60] else UP))
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        for line in more.strip().split(b"\r\n"):
            assert line + b"\r\n" in got


# the key


@pytest.mark.parametrize("code", [b"401 Unauthorized", b"200 OK"])
@pytest.mark.parametrize("escape", [False, True])
async def test_a_key_that_is_said_again(project: Project, start: Start, code: bytes, escape: bool) -> None:
    said = KEY.replace("/", "\\/") if escape else KEY
    body = b'{"error": {"message": "bad key ' + said.encode() + b'"}}'
    echo = b"X-Echo: Bearer " + KEY.encode() + b"\r\n"
    async with speaking(saying(whole(body, code, echo))) as up, start(up) as app:
        got, headers, back = await post(app.port, ONE)
        other = await talk(app.port, raw(app, path="/v1/embeddings"))
    assert (got, headers["X-Echo"]) == (int(code[:3]), "Bearer [key]")
    assert (back == body) == (got == 200)  # an answer is an answer, and goes back as it came
    if got != 200:
        assert b"secret" not in back + other
        assert b"bad key [key]" in back
    assert "secret" not in json.dumps(ledger(project))


async def test_a_key_in_a_stream_is_not_kept(project: Project, start: Start) -> None:
    body = event("the key is sk-up") + event("stream/secret", "stop") + DONE
    async with speaking(saying(SSE + body)) as up, start(up) as app:
        assert (await post(app.port, UP))[2] == body
    assert ledger(project)[0]["response"]["choices"][0]["message"]["content"] == "the key is [key]"


# time


async def test_an_answer_in_one_piece_may_take_its_time(start: Start) -> None:
    """Its first byte comes when the model has written the last word; a stream's first byte does not."""

    async def answer(writer: asyncio.StreamWriter, head: bytes) -> None:
        await asyncio.sleep(0.8)
        writer.write(whole(wire.dumps(wire.completion("m", "transfer", Tokens(), "x", 1))))

    async with speaking(answer, Timeouts(first=0.4, between=0.4, total=3.0)) as up, start(up) as app:
        assert (await post(app.port, ONE))[0] == 200
        assert (await post(app.port, UP))[0] == 504


async def test_headers_do_not_buy_time(start: Start) -> None:
    async def answer(writer: asyncio.StreamWriter, head: bytes) -> None:
        await asyncio.sleep(0.4)
        writer.write(SSE)
        await asyncio.sleep(0.4)
        writer.write(DONE)

    async with speaking(answer, Timeouts(first=0.6, between=0.6, total=3.0)) as up, start(up) as app:
        assert (await post(app.port, UP))[0] == 504


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reader_that_stalls_is_cut_off(start: Start, stream: bool) -> None:
    limits = Limits(write_seconds=0.3)
    body = SSE + event("a" * 100_000) * 120 + DONE if stream else whole(b'{"choices":"' + b"a" * (12 << 20) + b'"}')
    async with speaking(saying(body), Timeouts()) as up, start(up, limits=limits) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port, limit=1024)
        writer.write(raw(app, UP if stream else ONE))
        got = len(await reader.read(10))
        await asyncio.sleep(1.5)
        try:
            while chunk := await reader.read(1 << 20):
                got += len(chunk)
        except ConnectionError:
            pass
        writer.close()
    assert got < 12 << 20


async def test_a_slow_reader_is_not(start: Start) -> None:
    """The deadline is for a write that stands still, not for the whole answer."""
    limits = Limits(write_seconds=0.5)
    text = wire.dumps({"x": "a" * (12 << 20)})
    async with speaking(saying(whole(text)), Timeouts()) as up, start(up, limits=limits) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port, limit=1 << 16)
        writer.write(raw(app, ONE))
        got = 0
        while chunk := await reader.read(1 << 17):
            got += len(chunk)
            await asyncio.sleep(0.01)
        writer.close()
    assert got > len(text)
