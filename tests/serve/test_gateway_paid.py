"""Who pays for what over HTTP: streams without usage, deadlines, hosts that fail; who holds a place meanwhile."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from freehold.project import Project
from freehold.project.gateway import CacheSettings, LedgerSettings, UpstreamSettings
from freehold.serve.app import App
from freehold.serve.entry.spend import most

from .conftest import StandIn, Start, ledger, request, standing, until
from .gateway import CHAT, call, give, hosts, post

COMPLETIONS = "/v1/completions"
SOON = [("X-Stainless-Read-Timeout", "0.3")]


def up(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "what nobody asked before " * 40}]
    return {"model": "gpt-4o-mini", "messages": messages, "max_tokens": 4000} | fields


def price(
    app: App, body: dict[str, Any], path: str = CHAT, *, answer: bool = True, model: str = "gpt-4o-mini"
) -> float:
    """Of all that is put aside for a request, or of its prompt alone."""
    found = most(body, len(json.dumps(body)), path)
    usd = app.parts.spend.prices.most([model], found if answer else replace(found, answer=0))
    assert usd
    return usd


async def paid(app: App, name: str = "web") -> float:
    await until(lambda: app.parts.metrics.running == 0 and app.parts.admission.tokens == 0)
    return app.parts.spend.spent.read(name)[0]


async def test_a_stream_that_does_not_say_its_usage(project: Project, start: Start, upstream: StandIn) -> None:
    """What was thought is in no text, so all that was put aside counts; a client that asks for its usage pays that."""
    secret = give(project, "web", budget_day=1.0)
    upstream.usage = False
    async with start(upstream) as app:
        body = up(stream=True)
        assert (await post(app.port, body, secret)).text == "transfer"
        first = await paid(app)
        assert first == pytest.approx(price(app, body), abs=1e-8)
        upstream.usage = True
        await post(app.port, up(stream=True, stream_options={"include_usage": True}), secret)
        assert await paid(app) - first < first / 20
        before = await paid(app)
        prompts = {"model": "gpt-4o-mini", "prompt": ["a"] * 30, "max_tokens": 100}
        assert (await post(app.port, prompts, secret, COMPLETIONS)).status == 200  # says no usage
        assert await paid(app) - before == pytest.approx(price(app, prompts, COMPLETIONS), abs=1e-8)


@pytest.mark.parametrize("how", ["deadline", "deadline of a stream", "gone", "completions"])
async def test_who_waits_no_longer_pays_the_prompt(project: Project, start: Start, upstream: StandIn, how: str) -> None:
    """At the price of the model that the host was asked for, and the host's own budget has it too."""
    secret = give(project, "web", budget_day=1.0)
    upstream.mode = "slow"
    table = UpstreamSettings(upstream.url, model="gpt-4o", budget_day=1.0)
    async with start(None, settings=hosts(project, first=table)) as app:
        path, body = CHAT, up(stream=how == "deadline of a stream")
        if how == "completions":
            path, body = COMPLETIONS, {"model": "gpt-4o-mini", "prompt": "a " * 900}
            upstream.mode = "slow everywhere"
        if how == "gone":
            with pytest.raises(TimeoutError):
                await call(app.port, "POST", path, body, secret, until=0.3)
        elif how == "deadline of a stream":
            upstream.mode, upstream.event = "stalled", 1
            assert (await post(app.port, body, secret, path, headers=SOON)).status in (200, 504)
        else:
            assert (await post(app.port, body, secret, path, headers=SOON)).status == 504
        assert len(upstream.seen) == 1
        least = price(app, body, path, answer=False, model="gpt-4o")
        spent = await paid(app)
        assert spent >= least - 1e-8
        assert spent == pytest.approx(least, abs=1e-8) or how == "deadline of a stream"
        assert app.parts.spend.spent.read("host:first")[0] == pytest.approx(spent, abs=1e-7)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_what_a_host_refuses_costs_nothing(project: Project, start: Start, upstream: StandIn, path: str) -> None:
    secret = give(project, "web", budget_day=1.0)
    body = up() if path == CHAT else {"model": "gpt-4o-mini", "prompt": "a"}
    async with start(upstream) as app:
        for mode in ("down", "error200", "busy") if path == CHAT else ("down",):
            upstream.mode = mode
            await post(app.port, body, secret, path)
        assert upstream.seen
        assert await paid(app) == 0.0
    nobody = hosts(project, first=UpstreamSettings("http://127.0.0.1:9/v1"))
    async with start(None, settings=nobody) as app:
        assert (await post(app.port, body, secret, path)).status == 502
        assert await paid(app) == 0.0


async def test_a_host_that_was_too_slow_before_another_answered(
    project: Project, start: Start, upstream: StandIn
) -> None:
    """Both read the prompt, and both are paid."""
    secret = give(project, "web", budget_day=1.0)
    upstream.mode = "broken"
    async with standing() as second, start(upstream, settings=hosts(project, second=second)) as app:
        assert (await post(app.port, up(), secret)).status == 200
        assert await paid(app) == pytest.approx(price(app, up(), answer=False) + 40 * 0.15e-6 + 2 * 0.6e-6, abs=1e-8)


async def test_a_stream_that_breaks_off_is_paid(project: Project, start: Start, upstream: StandIn) -> None:
    secret = give(project, "web", budget_day=1.0)
    upstream.mode = "broken"
    async with start(upstream) as app:
        assert b"[DONE]" not in (await post(app.port, up(stream=True), secret)).body
        assert await paid(app) == pytest.approx(price(app, up(stream=True)), abs=1e-8)


async def test_one_host_without_a_price_keeps_nobody_out(project: Project, start: Start, upstream: StandIn) -> None:
    secret = give(project, "web", budget_day=1.0)
    second = UpstreamSettings("http://127.0.0.1:9/v1", model="no-such-model")
    async with start(upstream, settings=hosts(project, second=second)) as app:
        assert (await post(app.port, up(), secret)).status == 200
        answer = await post(app.port, up(model="nor-this-one"), secret)
        assert (answer.status, answer.code) == (403, "unpriced_model")
        assert '[prices."nor-this-one"]' in answer.json["error"]["message"]


async def test_prices_are_read_before_the_first_call(project: Project, start: Start, upstream: StandIn) -> None:
    give(project, "web", budget_day=1.0)
    async with start(upstream) as app:
        assert app.parts.spend.prices._book._schedules


async def test_what_passes_up_takes_a_place_too(project: Project, start: Start, upstream: StandIn) -> None:
    """A key with one call at a time has one on every route."""
    upstream.mode = "slow everywhere"
    limits = replace(project.settings.limits, running_key=1, queued_key=1)
    secret = give(project, "other")
    async with start(upstream, limits=limits) as app:
        calls = [
            asyncio.create_task(post(app.port, {"model": "m", "input": "x"}, secret, "/v1/responses")) for _ in range(5)
        ]
        await until(lambda: sum(one.done() for one in calls) == 3)
        assert len(upstream.seen) == 1
        assert {(one.result().status, one.result().code) for one in calls if one.done()} == {(429, "queue_full")}
        for one in calls:
            one.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_completions_give_back_what_they_did_not_use(project: Project, start: Start, upstream: StandIn) -> None:
    """Tokens of the key's minute; and the client's deadline holds in the line too."""
    secret, other = give(project, "web", tokens_minute=5000), give(project, "other", running=1)
    body = {"model": "gpt-4o-mini", "prompt": "a", "max_tokens": 4900}
    upstream.counted = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    async with start(upstream) as app:
        for _ in range(4):
            assert (await post(app.port, body, secret, COMPLETIONS)).status == 200
        upstream.mode = "slow everywhere"
        first = asyncio.create_task(post(app.port, body, other, COMPLETIONS))
        await until(lambda: len(upstream.seen) == 5)
        answer = await post(app.port, body, other, COMPLETIONS, headers=SOON)
        assert (answer.status, answer.code) == (429, "queue_timeout")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_completions_stop_where_no_row_means_no_answer(project: Project, start: Start, upstream: StandIn) -> None:
    settings = replace(project.settings, ledger=LedgerSettings(failure="refuse"))
    async with start(upstream, settings=settings) as app:
        app.parts.ledger.why = "the disk is full"
        answer = await post(app.port, {"model": "m", "prompt": "a"}, path=COMPLETIONS)
        assert (answer.status, answer.code) == (503, "ledger_unwritable")
        assert upstream.seen == []


@pytest.mark.parametrize("how", ["cache", "repeat"])
async def test_a_narrowed_key_gets_no_answer_of_before(
    project: Project, start: Start, upstream: StandIn, how: str
) -> None:
    secret = give(project, "web", tasks=("intents",))
    settings = replace(project.settings, cache=CacheSettings(keys=("web",) if how == "cache" else ()))
    again = [("Idempotency-Key", "one")] if how == "repeat" else []
    body = request("question 1", temperature=0)
    async with start(upstream, settings=settings) as app:
        first, second = [await post(app.port, body, secret, headers=again) for _ in range(2)]
        assert (first.status, second.status) == (200, 200)
        assert "x-freehold-repeated" in second.headers or second.headers["x-freehold-answered-by"] == "cache"
        path = project.path / "keys.json"
        path.write_bytes(path.read_bytes().replace(b'"intents"', b'"poems"'))

        def narrow() -> bool:
            key = app.parts.keys.named("web")
            return key is not None and key.tasks == ("poems",)

        await until(narrow)
        answer = await post(app.port, body, secret, headers=again)
        assert (answer.status, answer.code) == (403, "task_not_allowed")


async def test_pairs_do_not_carry_a_clients_idempotency_key(project: Project, start: Start, upstream: StandIn) -> None:
    """Two clients that chose the same one would get each other's answer there."""
    secrets = [give(project, name) for name in ("a", "b")]
    async with start(upstream, pairs=1.0) as app:
        for secret, text in zip(secrets, ("question 1", "question 2"), strict=True):
            answer = await post(app.port, request(text), secret, headers=[("Idempotency-Key", "one")])
            assert answer.headers["x-freehold-answered-by"] == "student"
        await until(lambda: len(upstream.seen) == 2)
    assert len({headers["idempotency-key"] for _, headers, _ in upstream.seen}) == 2


async def test_hosts_of_freehold_toml_alone_are_watched(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(None, settings=hosts(project, only=upstream), pairs=1.0) as app:
        assert app.parts.pairs is not None
        assert app.parts.steps[0].monitor is not None
        assert (await post(app.port, request("question 1"))).headers["x-freehold-answered-by"] == "student"
        await until(lambda: len(upstream.seen) == 1)


async def test_a_home_answer_whose_row_fails_has_a_word_of_its_own(
    project: Project, start: Start, upstream: StandIn
) -> None:
    async with start(upstream) as app:
        app.parts.ledger.why = "the disk is full"
        assert (await post(app.port, request("question 1"))).headers["x-freehold-answered-by"] == "upstream"
    assert [row["freehold"]["why"] for row in ledger(project)] == ["unwritten"]
