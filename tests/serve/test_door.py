"""The door: who may ask, in what form, how much and how slowly."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from freehold import wire
from freehold.project.gateway import Limits
from freehold.serve.app import App

from .conftest import StandIn, Start, request

GOOD = wire.dumps(request("move 50 to savings"))


async def talk(port: int, *pieces: bytes, wait: float = 0.0) -> bytes:
    """Send raw bytes, piece by piece, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(wait)
        return await asyncio.wait_for(reader.read(), 8.0)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def raw(
    app: App, body: bytes = GOOD, path: str = "/v1/chat/completions", method: str = "POST", **headers: Any
) -> bytes:
    head = {"Host": f"127.0.0.1:{app.port}", "Content-Type": "application/json", "Content-Length": len(body)}
    head |= {"Connection": "close"} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def error(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert found.keys() == {"message", "type", "param", "code"}
    return found


async def test_a_good_request_is_answered(start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app:
        for host in (f"127.0.0.1:{app.port}", f"localhost:{app.port}", f"LocalHost:{app.port}", f"[::1]:{app.port}"):
            assert status(await talk(app.port, raw(app, Host=host))) == 200
        own = f"http://127.0.0.1:{app.port}"
        assert status(await talk(app.port, raw(app, Origin=own, Sec_Fetch_Site="same-origin"))) == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/health", "/v1/embeddings", "/nowhere"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
    ids=str,
)
async def test_every_route_keeps_strangers_out(
    start: Start, upstream: StandIn, path: str, headers: dict[str, str], code: int
) -> None:
    async with start(upstream) as app:
        for method in ("GET", "POST"):
            answer = await talk(app.port, raw(app, path=path, method=method, **headers))
            assert status(answer) == code
            assert b"access-control" not in answer.lower()
            error(answer)
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": None}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"method": "OPTIONS"}, 405),
        ({"method": "POST", "path": "/health"}, 405),
        ({"method": "POST", "path": "/v1/models"}, 405),
        ({"body": b""}, 400),
        ({"body": b"not json"}, 400),
        ({"body": b"\xff\xfe{}"}, 400),
        ({"body": b"[]"}, 400),
        ({"body": b"{}"}, 400),
        ({"body": b'{"messages": []}'}, 400),
        ({"body": b'{"messages": "hello"}'}, 400),
        ({"body": b'{"messages": [1]}'}, 400),
        ({"body": b'{"model": 3, "messages": [{"role": "user"}]}'}, 400),
        ({"body": b'{"n": 1, "n": 2, "messages": [{"role": "user", "content": "x"}]}'}, 400),
        ({"body": b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}'}, 400),
        ({"body": b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5000 + b"}"}, 400),
        ({"body": b'{"messages": [{"role": "user", "content": "\\ud800"}]}'}, 400),
        ({"body": b'{"messages": [{"role": "user", "content": ' + b"[" * 100 + b"]" * 100 + b"}]}"}, 400),
        ({"body": b"[" * 200_000}, 400),
        ({"body": b'{"a":' * 100_000}, 400),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_bad_requests_get_a_clear_error(
    start: Start, upstream: StandIn, change: dict[str, Any], code: int
) -> None:
    async with start(None) as app:
        answer = await talk(app.port, raw(app, **change))
        assert status(answer) == code
        assert error(answer)["message"]
        assert b"x-freehold-answered-by" not in answer


def bomb(text: bytes) -> bytes:
    return b'{"messages": [{"role": "user", "content": "x"}], "metadata": ' + text + b"}"


@pytest.mark.parametrize(
    "body",
    [
        bomb(b"[" + b"{}," * 1_000_000 + b"{}]"),
        bomb(b"[" + b"[]," * 50_000 + b"[]]"),
        bomb(b"{" + b",".join(b'"%d":1' % i for i in range(50_000)) + b"}"),
        bomb(b"[1" + b",1" * 50_000 + b"]"),
        bomb(b"[" * 60_000),
        bomb(b'""' * 1_500_000 + b"," * 50_000),
        bomb(b'"' + b'\\"' * 1_500_000 + b"," * 50_000 + b"\\"),
        wire.dumps({"messages": [{"role": "user", "content": "x"}] * 1025}),
    ],
    ids=range(8),
)
async def test_a_small_body_can_not_grow(start: Start, upstream: StandIn, body: bytes) -> None:
    async with start(upstream) as app:
        began = time.monotonic()
        answer = await talk(app.port, raw(app, body=body))
        assert status(answer) == 400
        assert time.monotonic() - began < 2.0
    assert upstream.seen == []


async def test_commas_in_a_text_are_no_values(start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app:
        for text in ("one, [two], {three} " * 17_000, '\\", ' * 60_000, "\n,\\" * 60_000):
            assert status(await talk(app.port, raw(app, body=wire.dumps(request(text))))) == 200
        many = {"metadata": [1] * 49_000, "messages": [{"role": "user", "content": "x"}] * 300}
        assert status(await talk(app.port, raw(app, body=wire.dumps(many)))) == 200
    assert len(upstream.seen) == 4


async def test_what_comes_early_does_not_end_a_call(start: Start, upstream: StandIn) -> None:
    """A stray line end after a body, or the start of a next request, while the first one is answered."""
    upstream.mode = "steady"  # two seconds of a stream
    body = wire.dumps(request("sing to me", stream=True))
    async with start(upstream, limits=Limits(header_seconds=0.3)) as app:
        first = raw(app, body, Connection="keep-alive")
        for early in (b"\r\n", b"POST /v1/x HTTP/1.1\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
            writer.write(first)
            await asyncio.sleep(0.2)
            writer.write(early)
            assert (await reader.readuntil(b"0\r\n\r\n")).count(b"still here") == 40
            began = time.monotonic()
            if early == b"\r\n":
                await asyncio.sleep(0.5)
                writer.write(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\n\r\n".encode())
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            else:  # its deadline begins when the call before it has ended
                await asyncio.wait_for(reader.read(), 2.0)
                assert 0.2 < time.monotonic() - began < 1.0
            writer.close()


async def test_a_body_over_the_cap_is_refused_while_it_comes(start: Start) -> None:
    most = 4 << 20
    big = b"x" * (most + 1)
    async with start(None) as app:
        assert status(await talk(app.port, raw(app, body=b"", Content_Length=len(big)))) == 413
        chunked = raw(app, body=b"", Content_Length=None, Transfer_Encoding="chunked")
        answer = await talk(app.port, chunked + f"{len(big):x}\r\n".encode() + big)
        assert status(answer) in (413, 0)  # 0: the server hung up while we were still sending
        fits = raw(app, body=b" " * (most - len(GOOD)) + GOOD)
        assert status(await talk(app.port, fits)) == 200


async def test_a_megabyte_of_text_is_nothing_for_the_student(start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app:
        assert status(await talk(app.port, raw(app, body=wire.dumps(request("x" * 1_000_000))))) == 200
    assert len(upstream.seen[0][2]) > 1_000_000


async def test_headers_have_a_cap(start: Start) -> None:
    async with start(None) as app:
        many = {f"X_{i}": "y" * 4000 for i in range(10)}
        assert status(await talk(app.port, raw(app, **many))) in (431, 400, 0)
        assert status(await talk(app.port, raw(app, **{f"X_{i}": "y" for i in range(70)}))) == 400
        assert status(await talk(app.port, raw(app, X_Long="y" * 9000))) == 200
        assert status(await talk(app.port, raw(app, X_Long="y" * 33_000))) in (431, 400)
        assert status(await talk(app.port, b"POST / HTTP/1.1\r\n", *[b"A: " + b"y" * 8000 + b"\r\n"] * 6)) in (0, 431)


async def test_an_unreadable_request_does_not_come_back(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in the answer nor in the server's own talk: it may hold a key."""
    async with start(None) as app:
        for bad in (b"GET / HTTP/1.1\r\nAuthorization sk-client-secret\r\n\r\n", b"sk-client-secret\r\n\r\n"):
            answer = await talk(app.port, bad)
            assert status(answer) == 400
            assert b"sk-client-secret" not in answer
    assert "sk-client-secret" not in "".join(capfd.readouterr())


async def test_slow_headers_are_cut_off(start: Start) -> None:
    async with start(None, limits=Limits(header_seconds=0.3)) as app:
        began = time.monotonic()
        silent, trickling = await asyncio.gather(
            talk(app.port), talk(app.port, *[b"G", b"E", b"T", b" /", b" H", b"TT"], wait=0.1)
        )
        assert time.monotonic() - began < 2.0
        assert silent == trickling == b""
        # a connection that has asked once may stay idle, but the next request's headers have a deadline too
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\n\r\n".encode())
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(b"GET /hea")
        began = time.monotonic()
        await asyncio.wait_for(reader.read(), 2.0)
        assert 0.2 < time.monotonic() - began < 1.0
        writer.close()


async def test_slow_bodies_are_cut_off(start: Start) -> None:
    async with start(None, limits=Limits(body_seconds=0.3)) as app:
        began = time.monotonic()
        answer = await talk(app.port, raw(app, body=b"{", Content_Length=500))
        assert status(answer) == 408
        assert time.monotonic() - began < 7.0


async def test_many_slow_clients_do_not_stop_an_honest_one(start: Start) -> None:
    async with start(None) as app:
        slow = [asyncio.create_task(talk(app.port, raw(app, body=b"{", Content_Length=500))) for _ in range(200)]
        await asyncio.sleep(0.3)
        began = time.monotonic()
        assert status(await talk(app.port, raw(app))) == 200
        assert time.monotonic() - began < 2.0
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/a/../../b", "//v1/x", "/v1/a\\b", "http://evil.example/v1/x"])
async def test_no_path_leaves_v1(start: Start, upstream: StandIn, path: str) -> None:
    async with start(upstream) as app:
        assert status(await talk(app.port, raw(app, path=path))) in (404, 400)
    assert upstream.seen == []


async def test_connections_have_a_cap(start: Start, upstream: StandIn) -> None:
    """Those that ask nothing make room for one that does; those that are at work don't."""
    upstream.mode = "steady"  # two seconds of a stream
    body = wire.dumps(request("sing to me", stream=True))
    async with start(upstream, limits=Limits(connections=2)) as app:
        silent = [await asyncio.open_connection("127.0.0.1", app.port) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert status(await talk(app.port, raw(app))) == 200
        assert await asyncio.wait_for(silent[0][0].read(), 5.0) == b""  # long before the header deadline
        for _, writer in silent:
            writer.close()
        await asyncio.sleep(0.1)
        busy = [await asyncio.open_connection("127.0.0.1", app.port) for _ in range(2)]
        for reader, writer in busy:
            writer.write(raw(app, body))
            await reader.readuntil(b"still here")
        answer = await talk(app.port, raw(app))
        assert status(answer) == 503
        assert error(answer)["code"] == "too_many_connections"
        for reader, writer in busy:
            assert (await reader.read()).endswith(b"0\r\n\r\n")
            writer.close()
        assert status(await talk(app.port, raw(app))) == 200


async def test_expect_continue(start: Start) -> None:
    async with start(None) as app:
        answer = await talk(app.port, raw(app, body=b"", Content_Length=len(GOOD), Expect="100-continue"), GOOD)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
