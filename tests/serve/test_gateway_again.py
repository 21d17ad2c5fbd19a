"""The same request again over HTTP: from the cache where a key wants it, once only under an Idempotency-Key."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from freehold.project import Project, Settings
from freehold.project.gateway import CacheSettings

from .conftest import StandIn, Start, ledger, request, until
from .gateway import CHAT, call, give, post

ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "no task"}], "temperature": 0,
}  # fmt: skip


def wanting(project: Project, *keys: str) -> Settings:
    return replace(project.settings, cache=CacheSettings(keys=keys))


async def test_the_cache_is_for_the_keys_that_want_it(project: Project, start: Start, upstream: StandIn) -> None:
    one, two, other = (give(project, name) for name in ("one", "two", "other"))
    async with start(upstream, settings=wanting(project, "one", "two")) as app:

        async def by(secret: str, **fields: Any) -> tuple[str, str]:
            answer = await post(app.port, ASKED | fields, secret)
            assert answer.status == 200
            return answer.headers["x-freehold-answered-by"], answer.text

        assert [await by(one) for _ in range(2)] == [("upstream", "transfer"), ("cache", "transfer")]
        assert await by(one, stream=True) == ("cache", "transfer")
        assert await by(one, user="another") == ("cache", "transfer")
        assert await by(two, stream=True) == ("upstream", "transfer")  # another client's
        assert await by(two) == ("cache", "transfer")
        for fields in ({"temperature": 0.1}, {"temperature": None}, {"seed": 8}, {"n": 2}, {"store": True}):
            assert (await by(one, **fields))[0] == "upstream"
            if fields != {"seed": 8}:
                assert (await by(one, **fields))[0] == "upstream"
        assert [(await by(other))[0] for _ in range(2)] == ["upstream"] * 2
        asked = len(upstream.seen)
        ids = [(await post(app.port, ASKED, one)).json["id"] for _ in range(3)]
        assert len(set(ids)) == 3
        assert len(upstream.seen) == asked
    own = [row["freehold"] for row in ledger(project) if row["freehold"]["answered_by"] == "cache"]
    assert {(row["why"], row["status"], row["money"]["saved"]) for row in own} == {("cached", "complete", 0.0)}
    assert all(row["key"] for row in own)


async def test_nothing_that_failed_or_was_cut_is_kept(project: Project, start: Start, upstream: StandIn) -> None:
    secret = give(project, "one")
    async with start(upstream, settings=wanting(project, "one")) as app:
        for mode in ("down", "error200", "broken", "refuses"):
            upstream.mode = mode
            for stream in (False, True):
                if mode != "refuses" or not stream:
                    await post(app.port, ASKED | {"stream": stream}, secret)
        upstream.mode = "fine"
        found = await post(app.port, ASKED, secret)
        assert found.headers["x-freehold-answered-by"] == "upstream" or found.status == 503
        assert app.parts.cache is not None
        assert app.parts.cache.hits == 0


async def test_a_home_answer_is_kept_until_its_rung_closes(project: Project, start: Start, upstream: StandIn) -> None:
    secret = give(project, "one")
    body = request("question 1", temperature=0)
    async with start(upstream, settings=wanting(project, "one")) as app:
        answers = [(await post(app.port, body, secret)).headers["x-freehold-answered-by"] for _ in range(2)]
        assert answers == ["student", "cache"]
        app.parts.steps[0].shut("the promise of 0.95 fails")
        assert (await post(app.port, body, secret)).headers["x-freehold-answered-by"] == "upstream"


@pytest.mark.parametrize("stream", [False, True])
async def test_fifty_repeats_are_one_call(project: Project, start: Start, upstream: StandIn, stream: bool) -> None:
    one, two = (give(project, name) for name in ("one", "two"))
    name, body = [("Idempotency-Key", "order-17")], ASKED | {"stream": stream}
    limits = replace(project.settings.limits, running_key=2, queued_key=2)  # repeats take no place
    upstream.mode = "steady" if stream else "fine"
    async with start(upstream, limits=limits) as app:
        answers = await asyncio.gather(*(post(app.port, body, one, headers=name) for _ in range(50)))
        assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
        assert sum("x-freehold-repeated" in answer.headers for answer in answers) == 49
        assert answers[0].text == "transfer"
        assert len(upstream.seen) == 1
        assert (await post(app.port, body, one, headers=name)).body == answers[0].body
        answer = await post(app.port, body | {"seed": 1}, one, headers=name)
        assert (answer.status, answer.code) == (422, "idempotency_key_reused")
        assert (await post(app.port, body, two, headers=name)).status == 200  # another client's key
        assert len(upstream.seen) == 2
    assert len(ledger(project)) == 2


async def test_errors_are_told_to_all_and_not_kept(project: Project, start: Start, upstream: StandIn) -> None:
    name = [("Idempotency-Key", "order-18")]
    upstream.mode = "down"
    async with start(upstream) as app:
        answers = await asyncio.gather(*(post(app.port, ASKED, headers=name) for _ in range(10)))
        assert Counter(answer.status for answer in answers) == {500: 10}
        failed = len(upstream.seen)
        upstream.mode = "broken"  # a stream that breaks off
        answer = await post(app.port, ASKED | {"stream": True}, headers=[("Idempotency-Key", "order-19")])
        assert b"[DONE]" not in answer.body
        upstream.mode = "fine"
        assert (await post(app.port, ASKED, headers=name)).status == 200
        again = await post(app.port, ASKED | {"stream": True}, headers=[("Idempotency-Key", "order-19")])
        assert again.text == "transfer"
        assert len(upstream.seen) == failed + 3


async def test_who_hangs_up_finds_the_answer_later(project: Project, start: Start, upstream: StandIn) -> None:
    name = [("Idempotency-Key", "order-20")]
    body = ASKED | {"stream": True}
    upstream.mode = "steady"  # two seconds
    async with start(upstream) as app:
        with pytest.raises(TimeoutError):
            await call(app.port, "POST", CHAT, body, headers=name, until=0.1)
        answer = await post(app.port, body, headers=name)
        assert answer.text == "transfer"
        assert "x-freehold-repeated" in answer.headers
        assert len(upstream.seen) == 1
        await until(lambda: app.parts.metrics.running == 0)
