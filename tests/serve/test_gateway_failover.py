"""Several hosts over HTTP: one answer, from one of them, under one id, and budgets that hold (G26, G29)."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace

import openai
import pytest

from freehold.project import Project
from freehold.project.gateway import Limits, UpstreamSettings
from freehold.serve.entry.spend import most

from .conftest import StandIn, Start, client, ledger, standing, until
from .gateway import call, give, hosts, post

ROOMY = Limits(running_key=300, queued_key=300, connections_address=400)
UP = "what nobody asked before"  # of no student: it goes up


def up(text: str = UP, **fields: object) -> dict[str, object]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]} | fields


@pytest.mark.parametrize("mode", ["down", "busy", "broken", "nonsense", "error200", "stalled"])
async def test_a_host_that_fails_before_content(project: Project, start: Start, upstream: StandIn, mode: str) -> None:
    """Whole and streamed: the client sees one 200 from the second host, and one id."""
    upstream.mode, upstream.event = mode, 1
    async with (
        standing(answer="from the second") as second,
        start(upstream, settings=hosts(project, second=second)) as app,
        client(app) as api,
    ):
        if mode != "stalled":
            whole = await api.chat.completions.create(**up())  # type: ignore[call-overload]
            assert whole.choices[0].message.content == "from the second"
        if mode not in ("down", "nonsense"):
            got = [chunk async for chunk in await api.chat.completions.create(**up(), stream=True)]  # type: ignore[call-overload]
            assert len({chunk.id for chunk in got}) == 1
            assert "".join(c.choices[0].delta.content or "" for c in got if c.choices) == "from the second"
    assert upstream.seen
    rows = [row["freehold"] for row in ledger(project)]
    assert len(second.seen) == len(rows)
    assert {(row["http"], row["status"], row["host"]) for row in rows} == {(200, "complete", "second")}
    assert len({row["id"] for row in rows}) == len(rows)


async def test_nothing_is_spliced_after_content(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode, upstream.event, upstream.answer = "broken", 2, "half an ans"
    async with (
        standing(answer="from the second") as second,
        start(upstream, settings=hosts(project, second=second)) as app,
    ):
        answer = await post(app.port, up(stream=True))
        assert answer.status == 200
        assert answer.text == "half an ans"
        assert b"[DONE]" not in answer.body
        assert b"event: error" in answer.body
        assert b"upstream_interrupted" in answer.body
        async with client(app) as api:
            with pytest.raises(openai.APIError):
                async for _ in await api.chat.completions.create(**up(), stream=True):  # type: ignore[call-overload]
                    pass
    assert second.seen == []
    rows = [row["freehold"] for row in ledger(project)]
    assert {(row["status"], row["host"]) for row in rows} == {("partial", "upstream")}


async def test_all_hosts_are_down(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode = "down"
    async with standing(mode="down") as second, start(upstream, settings=hosts(project, second=second)) as app:
        answers = [await post(app.port, up()) for _ in range(30)]
        assert {answer.status for answer in answers} <= {500, 502, 503}
        assert all(answer.code is None or isinstance(answer.code, str) for answer in answers)
    assert len(upstream.seen) + len(second.seen) <= 1.2 * 30 + 3
    assert Counter(row["freehold"]["status"] for row in ledger(project)) == {"failed": 30}


async def test_a_successor_is_asked_in_the_logged_models_place(
    project: Project, start: Start, upstream: StandIn
) -> None:
    """Also by the second host, which knows it under another name; nothing else of the body changes."""
    settings = replace(hosts(project), successor="gpt-5.6-luna")
    async with standing() as second:
        settings = replace(settings, upstreams={"second": UpstreamSettings(second.url, model="luna-eu")})
        async with start(upstream, settings=settings, rollout=settings.rollout) as app:
            await post(app.port, up())
            upstream.mode = "down"
            await post(app.port, up())
            first, then = json.loads(upstream.seen[0][2]), json.loads(second.seen[0][2])
    assert first == up() | {"model": "gpt-5.6-luna"}
    assert then == up() | {"model": "luna-eu"}
    assert [row["request"]["model"] for row in ledger(project)] == ["gpt-4o-mini"] * 2


async def test_a_hosts_budget_is_spent_by_every_route(project: Project, start: Start) -> None:
    """Chat, completions and embeddings, whole and streamed: what a host billed counts, and then it rests."""
    async with standing() as second:
        table = UpstreamSettings(second.url, budget_day=1.0)
        async with start(None, settings=hosts(project, second=table)) as app:
            fleet = app.parts.fleet
            assert fleet is not None
            left = fleet.all[0].left
            assert left is not None
            for path, body in (
                ("/v1/chat/completions", up()), ("/v1/chat/completions", up(stream=True)),
                ("/v1/completions", {"model": "gpt-4o-mini", "prompt": "a b c"}),
                ("/v1/completions", {"model": "gpt-4o-mini", "prompt": "a b c", "stream": True}),
                ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a b c"}),
            ):  # fmt: skip
                before = left()
                assert (await post(app.port, body, path=path)).status == 200
                await until(lambda before=before: left() < before)  # type: ignore[misc]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_cent_of_a_budget(project: Project, start: Start, upstream: StandIn, stream: bool) -> None:
    """G29: 200 calls at once, the first host failing: at most one reservation too much, and nothing after."""
    upstream.mode = "down"
    body = up(stream=stream, max_tokens=4)
    size = len(json.dumps(body))
    async with standing() as second, start(upstream, settings=hosts(project, second=second), limits=ROOMY) as app:
        one = app.parts.spend.prices.most(["gpt-4o-mini"], most(body, size))
        assert one
        secret = give(project, "web", budget_day=round(20.5 * one, 9))
        await until(lambda: app.parts.keys.required or app.parts.keys.look())
        answers = await asyncio.gather(*(post(app.port, body, secret) for _ in range(200)))
        statuses = Counter(answer.status for answer in answers)
        assert set(statuses) == {200, 429, 500}  # of the failed ones a fifth is tried again, or three
        assert statuses[429] >= 179
        refused = [answer for answer in answers if answer.status == 429]
        assert {answer.code for answer in refused} == {"budget_exceeded"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        spent, *_ = app.parts.spend.spent.read("web")
        assert 0 < spent <= 20.5 * one + one
        for _ in range(300):  # each took less than was put aside: on to the end
            if (await post(app.port, body, secret)).status == 429:
                break
        spent, *_ = app.parts.spend.spent.read("web")
        assert spent <= 20.5 * one + one
    assert len(second.seen) == sum(row["freehold"]["http"] == 200 for row in ledger(project))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "gpt-4o-mini", "prompt": "a b c"}),
        ("/v1/completions", {"model": "gpt-4o-mini", "prompt": "a b c", "stream": True}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a b c"}),
    ],
    ids=["whole", "stream", "embeddings"],
)
async def test_every_metered_route_spends_its_keys_budget(
    project: Project, start: Start, upstream: StandIn, path: str, body: dict[str, object]
) -> None:
    secret = give(project, "web", budget_day=1.0)
    async with start(upstream) as app:
        assert (await post(app.port, body, secret, path)).status == 200
        await until(lambda: app.parts.spend.spent.read("web")[0] > 0)
        upstream.mode = "down"
        before = app.parts.spend.spent.read("web")[0]
        assert (await post(app.port, body, secret, path)).status == 500
        assert app.parts.spend.spent.read("web")[0] == before


async def test_a_client_that_leaves_pays_for_what_was_asked(project: Project, start: Start, upstream: StandIn) -> None:
    """Whoever hangs up before the answer does not go on for nothing: the prompt was read."""
    secret = give(project, "web", budget_day=1.0)
    upstream.mode = "slow"
    async with start(upstream) as app:
        with pytest.raises(TimeoutError):
            await call(app.port, "POST", "/v1/chat/completions", up(), secret, until=0.2)
        await until(lambda: app.parts.metrics.running == 0)
        assert app.parts.spend.spent.read("web")[0] > 0
    (row,) = [row["freehold"] for row in ledger(project)]
    assert (row["status"], row["reason"].split("; ")[-1]) == ("partial", "client_gone")


async def test_no_call_outlives_its_clients_deadline(project: Project, start: Start, upstream: StandIn) -> None:
    """0.3 s, also where most of it went by while the call waited for a place."""
    upstream.mode = "slow"
    limits = replace(project.settings.limits, running_tokens=200)
    wait = [("X-Stainless-Read-Timeout", "0.3")]
    async with start(upstream, limits=limits) as app:
        began = time.monotonic()
        got = await asyncio.gather(*(post(app.port, up(max_tokens=90), headers=wait) for _ in range(6)))
        assert time.monotonic() - began < 1.3
        assert {answer.status for answer in got} <= {429, 504}
        assert any(answer.status == 504 for answer in got)
