"""Idempotency-Key: one dispatch, whoever asks again, and however often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from freehold.http.head import Headers
from freehold.http.request import Request
from freehold.serve.entry.repeat import Conflict, Full, Gather, Repeats


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes


class Gone:
    """The connection of a client that has hung up: it takes nothing."""

    peer = "10.0.0.9"

    async def read(self, most: int) -> bytes:
        raise ConnectionResetError

    async def begin(self, status: int, headers: object) -> None:
        raise ConnectionResetError

    async def write(self, data: bytes) -> None:
        raise ConnectionResetError

    async def end(self) -> None:
        raise ConnectionResetError

    def abort(self) -> None:
        raise AssertionError("it is gone already")


class Host:
    """Answers when it is let; counts how often it was asked."""

    def __init__(self, *statuses: int) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self._statuses = list(statuses)

    async def __call__(self) -> Reply:
        self.asked += 1
        number = self.asked
        await self.go.wait()
        return Reply(self._statuses.pop(0) if self._statuses else 200, b"answer %d" % number)


async def test_fifty_at_once_are_one_dispatch() -> None:
    repeats, host = Repeats[Reply](), Host()
    asked = [asyncio.create_task(repeats.once("batch", "k", b"{}", host)) for _ in range(50)]
    await asyncio.sleep(0)
    host.go.set()
    found = await asyncio.gather(*asked)
    assert host.asked == 1
    assert {answer.body for answer, _ in found} == {b"answer 1"}
    assert sorted(again for _, again in found) == [False] + [True] * 49
    assert (await repeats.once("batch", "k", b"{}", host))[0].body == b"answer 1"
    assert (host.asked, repeats.repeated) == (1, 50)


async def test_another_body_is_refused_also_while_the_first_runs() -> None:
    repeats, host = Repeats[Reply](), Host()
    first = asyncio.create_task(repeats.once("batch", "k", b"{}", host))
    await asyncio.sleep(0)
    for _ in range(2):
        with pytest.raises(Conflict) as error:
            await repeats.once("batch", "k", b"{ }", host)
        assert (error.value.http, error.value.code) == (422, "idempotency_key_reused")
        host.go.set()
        await first
    assert host.asked == 1


async def test_two_clients_equal_keys_are_two() -> None:
    repeats, host = Repeats[Reply](), Host()
    host.go.set()
    bodies = [(await repeats.once(tenant, "k", b"{}", host))[0].body for tenant in ("a", "b")]
    assert bodies == [b"answer 1", b"answer 2"]


@pytest.mark.parametrize("status", [500, 502, 429, 409])
async def test_a_failure_is_told_to_all_that_wait_and_forgotten(status: int) -> None:
    repeats, host = Repeats[Reply](), Host(status)
    asked = [asyncio.create_task(repeats.once("batch", "k", b"{}", host)) for _ in range(5)]
    await asyncio.sleep(0)
    host.go.set()
    assert {answer.status for answer, _ in await asyncio.gather(*asked)} == {status}
    assert len(repeats) == repeats.bytes == 0
    answer, again = await repeats.once("batch", "k", b"{}", host)
    assert (answer.status, again, host.asked) == (200, False, 2)


async def test_a_good_status_without_a_whole_answer_is_not_kept() -> None:
    repeats, host = Repeats[Reply](), Host()
    host.go.set()
    for number in (1, 2):
        answer, again = await repeats.once("batch", "k", b"{}", host, lambda found: found.body == b"answer 2")
        assert (answer.body, again) == (b"answer %d" % number, False)
    assert (await repeats.once("batch", "k", b"{}", host))[1]


async def test_a_stream_is_gathered_into_one_answer() -> None:
    way = Gather(Request(Gone(), "POST", "/v1/chat/completions?a", Headers([(b"user-agent", b"x")]), 2, False))
    assert (way.request.path, way.request.query, way.request.peer) == ("/v1/chat/completions", "a", "10.0.0.9")
    await way.request.begin(200, [("Content-Type", "text/event-stream")])
    for piece in (b"data: 1\n\n", b"data: [DONE]\n\n"):
        await way.request.write(piece)
    await way.request.end()
    assert (way.response.status, way.response.body) == (200, b"data: 1\n\ndata: [DONE]\n\n")
    way.request.abort()
    assert way.response.status == 502
    with pytest.raises(ConnectionError):
        await way.write(b"x" * (16 << 20))


async def test_an_error_reaches_all_that_wait_and_is_forgotten() -> None:
    async def broken() -> Reply:
        await asyncio.sleep(0)
        raise ValueError("no row")

    repeats = Repeats[Reply]()
    asked = [asyncio.create_task(repeats.once("batch", "k", b"{}", broken)) for _ in range(3)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in found] == [ValueError] * 3
    assert len(repeats) == 0


async def test_a_client_that_goes_fails_nobody_and_a_call_that_nobody_waits_for_is_kept() -> None:
    repeats, host = Repeats[Reply](), Host()
    first, second = (asyncio.create_task(repeats.once("batch", "k", b"{}", host)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert first.cancelled()
    second.cancel()
    await asyncio.sleep(0)
    host.go.set()
    answer, again = await repeats.once("batch", "k", b"{}", host)
    assert (answer.body, again, host.asked) == (b"answer 1", True, 1)


async def test_answers_live_for_a_day_and_are_bounded() -> None:
    now = [0.0]
    repeats, host = Repeats[Reply](entries=3, size=2000, clock=lambda: now[0]), Host()
    host.go.set()
    for name in "abcd":
        await repeats.once("batch", name, b"{}", host)
        assert len(repeats) <= 3
        assert repeats.bytes <= 2000
    assert (await repeats.once("batch", "d", b"{}", host))[1]
    assert not (await repeats.once("batch", "a", b"{}", host))[1]
    now[0] = 24 * 3600.0
    assert not (await repeats.once("batch", "d", b"{}", host))[1]
    assert len(repeats) == 1


async def test_no_call_under_way_is_forgotten() -> None:
    repeats, host = Repeats[Reply](entries=2), Host()
    asked = [asyncio.create_task(repeats.once("batch", name, b"{}", host)) for name in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(Full):
        await repeats.once("batch", "c", b"{}", host)
    await repeats.close()
    assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*asked, return_exceptions=True))
    assert len(repeats) == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "ключ", "a\nb"], ids=ascii)
async def test_what_is_no_key(key: str) -> None:
    call: Callable[[], Awaitable[Reply]] = Host()
    with pytest.raises(Conflict) as error:
        await Repeats[Reply]().once("batch", key, b"{}", call)
    assert error.value.http == 400
