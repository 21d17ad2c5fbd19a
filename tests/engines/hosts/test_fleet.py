"""The fleet over true hosts: who is asked, what is tried again, what never, and what the caller gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from freehold import wire
from freehold.engines.hosts.fleet import Fleet
from freehold.engines.hosts.host import Host
from freehold.engines.hosts.model import asks
from freehold.engines.replay import Replay
from freehold.engines.upstream import HttpUpstream, Reply, Timeouts, UpstreamFailed

from .conftest import (
    ABORT,
    CHAT,
    DONE,
    HANG,
    HEAD,
    LAST,
    OK_STREAM,
    QUICK,
    Clock,
    Hosts,
    Piece,
    answer,
    asked,
    call,
    chunk,
    event,
    fleet,
    good,
    role,
    said,
    until,
    up,
    whole,
)


def always(*pieces: Piece) -> Any:
    return lambda path, headers, body: list(pieces)


def then(*plays: Sequence[Piece]) -> Any:
    """One after the other, the last for ever."""
    left = list(plays)
    return lambda path, headers, body: left.pop(0) if len(left) > 1 else left[0]


BUSY = whole(wire.error("too many", "rate_limit"), "429 Too Many Requests", "application/json", "Retry-After: 7")
DOWN = whole(wire.error("down", "server_error"), "503 Service Unavailable")
ERROR200 = whole(wire.error("overloaded", "server_error"))
GARBAGE = whole(b"<html>we are down\xff</html>", kind="text/html")
FAILS = {
    "reset": [ABORT], "silent": [HANG], "503": DOWN, "500": whole(b"oops", "500 Oops", "text/plain"), "429": BUSY,
    "error200": ERROR200, "garbage": GARBAGE, "empty": whole(b""), "cut": [whole(answer("a"))[0][:-20], ABORT],
    "redirect": whole(b"", "302 Found", "text/plain", "Location: http://127.0.0.1:9/"),
    "error event": [OK_STREAM, chunk(b'data: {"error": {"message": "overloaded"}}\n\n'), LAST],
    "typed error event": [OK_STREAM, chunk(b'event: error\ndata: {"message": "overloaded"}\n\n'), LAST],
    "role, then reset": [OK_STREAM, chunk(role("a")), ABORT],
    "role, then silence": [OK_STREAM, chunk(role("a")), HANG],
    "role, then the end": [OK_STREAM, chunk(role("a")), LAST],
    "role, then an error": [OK_STREAM, chunk(role("a")), chunk(b'data: {"error": "no"}\n\n'), LAST],
    "no json": [OK_STREAM, chunk(b"data: <html>\n\n"), LAST],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_in_the_order_of_the_config_answers(hosts: Hosts, stream: bool) -> None:
    raws = await hosts(a=good("a"), b=good("b"))
    both = fleet(raws, Clock())
    got = await call(both, asked(stream))
    await both.close()
    assert (got.status, got.host, got.tries, got.error) == (200, "a", 1, "")
    assert not raws[1].seen
    expected = b"".join(p for p in (role("a"), said("a", "I am", " a"), event("a", {}, "stop"), DONE))
    assert got.body == (expected if stream else answer("a"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", FAILS)
async def test_what_fails_before_content_goes_to_the_next_host(hosts: Hosts, how: str, stream: bool) -> None:
    raws = await hosts(a=always(*FAILS[how]), b=good("b"))
    clock = Clock()
    both = Fleet([Host(raw.name, HttpUpstream(raw.url, timeouts=QUICK)) for raw in raws], clock.policy())
    timeouts = Timeouts(1.0, 0.3, 0.3, 0.3)  # a whole answer may take `total` to its first byte
    both.hosts[0].upstream = HttpUpstream(raws[0].url, timeouts=timeouts)
    got = await call(both, asked(stream))
    await both.close()
    assert (got.status, got.host, got.tries, got.error) == (200, "b", 2, "")
    assert b'chatcmpl-a"' not in got.body
    assert b"chatcmpl-b" in got.body
    assert clock.slept == []
    assert both.hosts[0].counts.failures == 1
    assert both.hosts[1].counts.fail_overs == 1


@pytest.mark.parametrize(
    "status", ["400 Bad", "401 No", "403 No", "404 None", "408 Late", "409 No", "413 Big", "422 No"]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_clients_own_fault_comes_back_as_it_is(hosts: Hosts, status: str, stream: bool) -> None:
    said_so = wire.error("your fault")
    raws = await hosts(a=always(*whole(said_so, status)), b=good("b"))
    both = fleet(raws, Clock())
    for _ in range(6):
        got = await call(both, asked(stream))
        assert (str(got.status), got.body, got.host, got.tries) == (status[:3], said_so, "a", 1)
    await both.close()
    assert not raws[1].seen
    assert both.hosts[0].breaker.closed
    assert both.hosts[0].counts.failures == 0


async def test_a_single_host_is_tried_once_more_after_a_while(hosts: Hosts) -> None:
    raws = await hosts(a=then(DOWN, whole(answer("a"))))
    clock = Clock()
    alone = fleet(raws, clock)
    got = await call(alone)
    await alone.close()
    assert (got.status, got.tries) == (200, 2)
    assert clock.slept == [pytest.approx(1.05)]
    assert alone.hosts[0].counts.retries == 1


@pytest.mark.parametrize("how", ["429", "silent"])
async def test_a_single_host_is_not_pressed(hosts: Hosts, how: str) -> None:
    raws = await hosts(a=always(*FAILS[how]))
    clock = Clock()
    alone = Fleet([Host("a", HttpUpstream(raws[0].url, timeouts=Timeouts(1, 0.3, 0.3, 0.3)))], clock.policy())
    got = await call(alone)
    await alone.close()
    assert (len(raws[0].seen), clock.slept) == (1, [])
    if how == "429":
        assert (got.status, got.headers["retry-after"]) == (429, "7")
    else:
        assert (got.http, got.error) == (504, "upstream_timeout")


@pytest.mark.parametrize("how", ["503", "error200", "garbage", "500"])
async def test_where_all_fail_the_last_ones_error_goes_back_as_it_came(hosts: Hosts, how: str) -> None:
    raws = await hosts(a=always(ABORT), b=always(*FAILS[how]))
    both = fleet(raws, Clock())
    got = await call(both)
    await both.close()
    assert got.host == "b"
    assert FAILS[how][0].endswith(b"\r\n\r\n" + got.body)


async def test_three_hosts_get_two_tries(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN), b=always(ABORT), c=good("c"))
    three = fleet(raws, Clock())
    got = await call(three)
    await three.close()
    assert got.error in ("upstream_unreachable", "upstream_interrupted")
    assert [len(raw.seen) for raw in raws] == [1, 1, 0]


async def test_a_host_with_an_open_breaker_is_passed_over_at_no_cost(hosts: Hosts) -> None:
    raws = await hosts(a=always(*BUSY), b=good("b"))
    clock = Clock()
    both = fleet(raws, clock)
    assert (await call(both)).tries == 2
    for _ in range(3):
        assert (await call(both)).tries == 1
    assert len(raws[0].seen) == 1
    clock.now += 7.0
    assert (await call(both)).host == "b"
    assert len(raws[0].seen) == 2, "asked again after exactly the 7 s that it wanted"
    await both.close()


async def test_nobody_to_ask_says_when(hosts: Hosts) -> None:
    raws = await hosts(a=always(*BUSY))
    clock = Clock()
    alone = fleet(raws, clock)
    await call(alone)
    got = await call(alone)
    assert (got.status, got.host, got.tries) == (429, "", 0)
    assert 7 <= int(got.headers["retry-after"]) <= 11
    assert json.loads(got.body)["error"]["code"] == "upstream_limited"
    raws[0].play = always(*DOWN)
    clock.now += 8.0
    await call(alone)
    got = await call(alone)
    assert (got.status, json.loads(got.body)["error"]["code"]) == (503, "upstream_resting")
    assert 30 <= int(got.headers["retry-after"]) <= 35
    await alone.close()


async def test_a_spent_budget_closes_a_host(hosts: Hosts) -> None:
    raws = await hosts(a=good("a"), b=good("b"))
    left = {"a": 0.5, "b": 0.5}
    clock = Clock()
    both = Fleet([Host(raw.name, up(raw), left=lambda raw=raw: left[raw.name]) for raw in raws], clock.policy())
    assert (await call(both)).host == "a"
    left["a"] = 0.0
    assert (await call(both)).host == "b"
    left["b"] = -0.1
    got = await call(both)
    assert (got.status, got.headers["x-should-retry"]) == (429, "false")
    assert json.loads(got.body)["error"]["code"] == "upstream_budget"
    await both.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/files", b"{}"), ("DELETE", "/v1/files/f-1", b""), ("GET", "/v1/models", b""),
        ("POST", "/v1/responses", b'{"model":"m","input":"x","previous_response_id":"r-1"}'),
    ],
)  # fmt: skip
async def test_what_leaves_something_behind_goes_to_the_first_host_once(
    hosts: Hosts, method: str, path: str, body: bytes
) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))
    both = fleet(raws, Clock())
    got = await call(both, body, path, method, whole=True)
    await both.close()
    assert (got.status, got.host, len(raws[0].seen), len(raws[1].seen)) == (503, "a", 1, 0)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions", "/v1/responses", "/v1/chat/completions?x=1"])
async def test_what_does_not_may_go_to_the_next(hosts: Hosts, path: str) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))
    both = fleet(raws, Clock())
    got = await call(both, path=path)
    await both.close()
    assert (got.status, got.host) == (200, "b")


async def test_a_file_of_any_size_passes_piece_by_piece(hosts: Hosts) -> None:
    data = b"x" * 300_000
    raws = await hosts(a=always(*whole(data, kind="application/octet-stream")))
    alone = fleet(raws, Clock(), Clock().policy(longest=1000, held=1000))
    got = await call(alone, b"", "/v1/files/f-1/content", "GET", whole=True)
    await alone.close()
    assert got.body == data


async def test_an_answer_in_another_encoding_is_not_judged(hosts: Hosts) -> None:
    raws = await hosts(a=always(*whole(b"\x1f\x8bzipped", "200 OK", "application/json", "Content-Encoding: gzip")))
    alone = fleet(raws, Clock())
    got = await call(alone)
    await alone.close()
    assert (got.status, got.body) == (200, b"\x1f\x8bzipped")


# names, keys, headers


async def test_each_host_is_asked_under_its_own_models_name(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))
    renamed = asks("qwen3-32b")
    both = Fleet([Host("a", up(raws[0])), Host("b", up(raws[1]), model="qwen3-32b", rename=renamed)], Clock().policy())
    rest = b'[ {"role":"user","content":"\\u00e9"} ]'
    body = b'{ "model" : "gpt", "seed": 1e3, "big": 123456789012345678901234567890, "messages": ' + rest + b" }"
    await call(both, body, whole=True)
    await both.close()
    assert raws[0].seen[0][2] == body, "byte for byte where nothing is renamed"
    assert raws[1].seen[0][2] == (
        b'{"model":"qwen3-32b","seed":1e3,"big":123456789012345678901234567890,"messages":' + rest + b"}"
    )


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"not json", b'{"messages": []}', b'{"model": "m2"}', b'{"model":"m2",}']
)
def test_nothing_is_renamed_where_nothing_needs_it(body: bytes) -> None:
    assert asks("m2")(body) == body


async def test_the_same_idempotency_key_on_every_try(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))

    async def keys(**headers: str) -> list[str]:
        both = fleet(raws, Clock())
        before = len(raws[0].seen), len(raws[1].seen)
        await call(both, headers=HEAD | headers)
        await both.close()
        return [raw.seen[n][1]["idempotency-key"] for raw, n in zip(raws, before, strict=True)]

    own = await keys()
    assert own[0] == own[1]
    assert own != await keys()
    given = await keys(**{"idempotency-key": "order-4711"})
    assert given[0] == given[1] == (await keys(**{"idempotency-key": "order-4711"}))[0], "the same when sent again"
    assert "4711" not in given[0]
    other = await keys(**{"idempotency-key": "order-4711", "authorization": "Bearer sk-another"})
    assert other[0] != given[0], "two clients may choose the same key, and share ours at the host"


async def test_the_key_of_a_host_goes_to_that_host_alone(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))
    both = Fleet([Host("a", up(raws[0], "sk-of-a-1")), Host("b", up(raws[1], "sk-of-b-1"))], Clock().policy())
    await call(both)
    await both.close()
    assert [raw.seen[0][1]["authorization"] for raw in raws] == ["Bearer sk-of-a-1", "Bearer sk-of-b-1"]
    assert "sk-of" not in repr(both) + json.dumps(both.state()) + repr(both.hosts)


# time


@pytest.mark.parametrize("header", ["x-stainless-read-timeout", "x-stainless-timeout"])
@pytest.mark.parametrize("stream", [False, True])
async def test_no_call_outlives_its_deadline(hosts: Hosts, header: str, stream: bool) -> None:
    raws = await hosts(a=always(*DOWN), b=always(HANG))
    both = Fleet([Host(raw.name, HttpUpstream(raw.url)) for raw in raws], Clock().policy())
    loop = asyncio.get_running_loop()
    began = loop.time()
    got = await call(both, asked(stream), headers=HEAD | {header: "0.2"})
    assert (got.http, got.error) == (504, "deadline_passed")
    assert loop.time() - began < 1.2
    assert both.hosts[1].counts.failures == 0, "the client's haste is not the host's fault"
    await both.close()
    await until(lambda: raws[1].gone)


async def test_the_server_may_end_a_stream_too(hosts: Hosts) -> None:
    raws = await hosts(a=always(OK_STREAM, chunk(role("a") + said("a", "and")), HANG))
    alone = Fleet([Host("a", HttpUpstream(raws[0].url))], Clock().policy())
    until = asyncio.get_running_loop().time() + 0.2
    got = await call(alone, asked(True), until=until)
    await alone.close()
    assert (got.status, got.error, got.http) == (200, "deadline_passed", 504)
    assert got.body == role("a") + said("a", "and")


@pytest.mark.parametrize("said_so", ["", "soon", "-1", "nan", "inf", "0", "1e9", "600", "1_0"])
async def test_a_deadline_that_is_none_is_none(hosts: Hosts, said_so: str) -> None:
    raws = await hosts(a=good("a"))
    alone = fleet(raws, Clock())
    assert (await call(alone, headers=HEAD | {"x-stainless-read-timeout": said_so})).status == 200
    await alone.close()


async def test_no_pause_that_the_client_would_not_wait_for(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN))
    clock = Clock()
    alone = fleet(raws, clock)
    got = await call(alone, headers=HEAD | {"x-stainless-read-timeout": "0.9"})
    await alone.close()
    assert (got.status, clock.slept, len(raws[0].seen)) == (503, [], 1)


async def test_a_host_that_thinks_for_long_shows_that_it_lives(hosts: Hosts) -> None:
    """After `patience` its comments are passed on, and from then on it is the answer."""
    ticks = [chunk(b": thinking\n\n")] * 5
    raws = await hosts(a=always(OK_STREAM, chunk(role("a")), *ticks, ABORT), b=good("b"))
    raws[0].pause = 0.02
    policy = Clock().policy(patience=-1.0)
    both = Fleet([Host(raw.name, up(raw)) for raw in raws], policy)
    got = await call(both, asked(True))
    await both.close()
    assert got.body.startswith(role("a"))
    assert (got.host, got.error, len(raws[1].seen)) == ("a", "upstream_interrupted", 0)


class Heard:
    """An upstream that hears what it is sent, and is down."""

    kind = "upstream"

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    @asynccontextmanager
    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, whole: bool = False
    ) -> AsyncIterator[Reply]:
        self.headers.append(dict(headers))
        await asyncio.sleep(0.05)
        raise UpstreamFailed(502, "upstream_unreachable", "down")
        yield

    async def close(self) -> None:
        return None


async def test_a_deadline_goes_up_reduced() -> None:
    a, b = Heard(), Heard()
    both = Fleet([Host("a", a), Host("b", b)], Clock().policy())
    await call(both, headers=HEAD | {"x-stainless-timeout": "20"})
    first, second = (float(heard.headers[0]["x-stainless-read-timeout"]) for heard in (a, b))
    assert 19 < first <= 20
    assert second <= first - 0.04
    await call(both)
    assert "x-stainless-read-timeout" not in a.headers[1]


# counting


async def test_clients_that_leave_never_count(hosts: Hosts) -> None:
    raws = await hosts(a=always(HANG))
    alone = Fleet([Host("a", HttpUpstream(raws[0].url))], Clock().policy())
    for n in range(7):
        task = asyncio.create_task(call(alone))
        await until(lambda n=n: len(raws[0].seen) > n)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    host = alone.hosts[0]
    assert (host.breaker.closed, host.counts.failures, host.counts.left) == (True, 0, 7)
    await alone.close()


async def test_streams_that_break_off_after_content_open_the_breaker(hosts: Hosts) -> None:
    raws = await hosts(a=always(OK_STREAM, chunk(role("a") + said("a", "and th")), ABORT))
    alone = fleet(raws, Clock())
    for _ in range(5):
        got = await call(alone, asked(True))
        assert (got.status, got.error) == (200, "upstream_interrupted")
    assert (await call(alone, asked(True))).status == 503
    assert alone.hosts[0].counts.interrupted == 5
    await alone.close()


async def test_one_probe_while_many_wait(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))
    clock = Clock()
    both = fleet(raws, clock)
    for _ in range(5):
        await call(both)
        clock.now += 11.0  # a budget of extra tries for each
    assert both.hosts[0].breaker.closed is False
    before = len(raws[0].seen)
    clock.now += 30.0
    got = await asyncio.gather(*(call(both) for _ in range(20)))
    assert len(raws[0].seen) == before + 1
    assert all(one.status == 200 for one in got)
    await both.close()


@pytest.mark.parametrize("breakers", [True, False])
@pytest.mark.parametrize("count", [1, 2])
async def test_a_total_outage_gets_at_most_a_fifth_more(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, breakers: bool, count: int
) -> None:
    """1,000 calls at dead hosts: with the breakers hardly any goes out; without them the budget alone holds."""
    raws = await hosts(**{f"h{i}": always(*DOWN) for i in range(count)})
    clock = Clock()

    async def at_once(seconds: float) -> None:
        clock.slept.append(seconds)

    policy = clock.policy()
    policy.sleep = at_once
    dead = Fleet([Host(raw.name, up(raw)) for raw in raws], policy)
    if not breakers:
        monkeypatch.setattr("freehold.engines.hosts.breaker.ROW", 10**9)
        monkeypatch.setattr("freehold.engines.hosts.breaker.SHARE", 2.0)
    for _ in range(1000):
        await call(dead)
        clock.now += 0.009
    sent = sum(len(raw.seen) for raw in raws)
    await dead.close()
    assert sent == sum(host.counts.calls for host in dead.hosts)
    assert sent <= (20 * count if breakers else 1200)
    assert breakers or sent > 1150, "the budget is used, so it was the budget that held"


async def test_nor_do_a_thousand_at_once() -> None:
    """All of them out before any has failed, so no breaker helps."""
    dead = [Heard(), Heard()]
    both = Fleet([Host(str(i), one) for i, one in enumerate(dead)], Clock().policy())
    await asyncio.gather(*(call(both) for _ in range(1000)))
    assert 1000 < sum(len(one.headers) for one in dead) <= 1200


async def test_what_nobody_received_costs_no_budget(hosts: Hosts) -> None:
    """One call at a time, the first host not there: every client is answered, before and after its breaker opens."""
    raws = await hosts(a=good("a"), b=good("b"))
    await raws[0].stop()
    both = fleet(raws, Clock())
    got = [await call(both) for _ in range(12)]
    await both.close()
    assert [(one.status, one.host) for one in got] == [(200, "b")] * 12
    assert both.hosts[0].counts.calls == 5, "then its breaker opens"
    assert both.policy.retries.take(0.0), "and of the budget nothing is spent"


@pytest.mark.parametrize("how", ["reset", "503", "no http"])
async def test_what_somebody_may_have_received_does(hosts: Hosts, how: str) -> None:
    plays = {"reset": [ABORT], "503": DOWN, "no http": [b"SSH-2.0\r\n\r\n"]}
    raws = await hosts(a=always(*plays[how]), b=good("b"))
    both = fleet(raws, Clock())
    got = [await call(both) for _ in range(5)]
    await both.close()
    assert [one.host for one in got].count("b") == 3


async def test_an_error_of_ours_says_which_hosts_failed(hosts: Hosts) -> None:
    raws = await hosts(upstream=always(ABORT), second=always(ABORT))
    for raw in raws:
        await raw.stop()
    for names, expected in ((["upstream", "second"], "upstream, second: "), (["second"], "second: ")):
        some = fleet([raw for raw in raws if raw.name in names], Clock())
        with pytest.raises(UpstreamFailed) as caught:
            async with some.send("POST", CHAT, HEAD, asked(), whole=True):
                pass
        assert caught.value.http == 502
        assert caught.value.message == f"{expected}The upstream can't be reached (ConnectionRefusedError)."
        await some.close()


async def test_a_host_that_is_left_alone_is_told_once_and_its_return_too(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))
    clock, heard = Clock(), list[str]()
    policy = clock.policy(tell=lambda what, done=None: heard.append(what))
    both = fleet(raws, clock, policy)
    for _ in range(8):
        await call(both)
        clock.now += 4.0  # of extra tries there are enough
    assert heard == ["a is left alone for 30 s: status_503"]
    clock.now += 30.0
    await call(both)  # the probe fails
    assert len(heard) == 1
    raws[0].play = good("a")
    clock.now += 60.0
    assert (await call(both)).host == "a"
    assert heard[1:] == ["a is asked again, after 106 s"]
    await both.close()


async def test_a_host_that_comes_and_goes_is_told_once_a_minute(hosts: Hosts) -> None:
    raws = await hosts(a=then(BUSY, whole(answer("a"))))
    clock, heard = Clock(), list[str]()
    alone = fleet(raws, clock, clock.policy(tell=lambda what, done=None: heard.append(what)))
    for _ in range(16):  # busy for 7 s, well, busy for 7 s ...
        raws[0].play = always(*BUSY)
        await call(alone)
        clock.now += 7.0
        raws[0].play = good("a")
        await call(alone)
        clock.now += 1.0
    await alone.close()
    assert heard == ["a is left alone for 7 s: rate_limited", "a is asked again, after 7 s"] * 2


async def test_what_health_reads(hosts: Hosts) -> None:
    raws = await hosts(a=always(*DOWN), b=good("b"))
    clock = Clock()
    both = fleet(raws, clock)
    await call(both)
    a, b = both.state()
    assert (a["name"], a["breaker"], a["calls"], a["failures"], a["fail_overs"]) == ("a", "closed", 1, 1, 0)
    assert (b["name"], b["calls"], b["failures"], b["fail_overs"]) == ("b", 1, 0, 1)
    assert both.hosts[0].counts.why == {"status_503": 1}
    await both.close()


# single hosts, and others than HTTP


async def test_one_host_alone_is_tried_once(hosts: Hosts) -> None:
    raws = await hosts(closed=good("closed"), local=always(*DOWN))
    clock = Clock()
    both = Fleet([Host("closed", up(raws[0])), Host("local", up(raws[1]), open=True)], clock.policy())
    for _ in range(3):
        assert (await call(both)).host == "closed"
    assert not raws[1].seen, "an open model's host stands in for nobody"
    local = both.one("local")
    for _ in range(5):
        assert (await call(local)).status == 503
    assert len(raws[1].seen) == 5
    assert (await call(local)).host == "", "its breaker is the fleet's"
    assert both.state()[1]["breaker"] == "open"
    with pytest.raises(KeyError):
        both.one("none")
    await both.close()


async def test_a_replay_may_sit_in_a_host() -> None:
    logged = wire.call_from_row(
        {"request": json.loads(asked()), "response": json.loads(answer("log")), "timestamp": "2026-10-01T00:00:00Z"}
    )
    replayed = Fleet([Host("upstream", Replay([logged]))], Clock().policy())
    assert replayed.kind == "replay"
    got = await call(replayed)
    assert (got.status, b"I am log" in got.body) == (200, True)
    got = await call(replayed, asked(True))
    assert b"[DONE]" in got.body
    got = await call(replayed, asked(messages=[{"role": "user", "content": "never"}]))
    assert got.status == 404
    await replayed.close()


async def test_no_host_at_all() -> None:
    got = await call(Fleet([], Clock().policy()))
    assert (got.status, json.loads(got.body)["error"]["code"]) == (503, "no_upstream")


async def test_an_error_of_the_caller_passes_through(hosts: Hosts) -> None:
    raws = await hosts(a=good("a"))
    alone = fleet(raws, Clock())

    async def fails(error: Exception) -> None:
        async with alone.send("POST", CHAT, HEAD, asked(True)) as reply:
            assert reply.status == 200
            raise error

    for error in (ZeroDivisionError(), UpstreamFailed(502, "x", "y")):
        with pytest.raises(type(error)):
            await fails(error)
    await alone.close()
    assert alone.hosts[0].counts.failures == 0
