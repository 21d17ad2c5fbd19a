"""What is too much gets a 4xx in OpenAI's shape on every route; who waits, who is turned away, what is counted."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from freehold.project import Project
from freehold.serve.app import App

from .conftest import StandIn, Start, ledger, request, until
from .gateway import CHAT, call, get, give, post

DEEP: dict[str, Any] = {}
for _ in range(60):
    DEEP = {"a": DEEP}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def schema(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": fields}}


BODIES: dict[str, Any] = {
    "n": request("a", n=9), "n text": request("a", n="2"), "n true": request("a", n=True), "n -1": request("a", n=-1),
    "n float": request("a", n=1.5), "max_tokens": request("a", max_tokens=10**18),
    "max_tokens huge": request("a", max_tokens=10**400), "max_tokens 1": request("a", max_tokens=(1 << 20) + 1),
    "best_of": request("a", best_of=9),
    "max_completion_tokens": request("a", max_completion_tokens=-5),
    "top_logprobs": request("a", top_logprobs=1 << 40), "stop": request("a", stop=["x"] * 17),
    "logit_bias": request("a", logit_bias={str(i): 1 for i in range(1025)}), "bias list": request("a", logit_bias=[1]),
    "temperature": request("a", temperature="hot"), "temperature list": request("a", temperature=[]),
    "tools": request("a", tools={"a": 1}), "functions": request("a", functions=7),
    "schema deep": request("a", response_format=schema(properties=DEEP)),
    "schema large": request("a", response_format=schema(description="x" * 70_000)),
    "schema items": request("a", response_format=schema(maxItems=10_001)),
    "tool schema": request("a", tools=[{"function": {"name": "f", "parameters": {"maxItems": 1 << 30}}}]),
    "messages": {"model": "x", "messages": [{"role": "user", "content": "a"}] * 1025},
    "no messages": {"model": "x", "messages": []}, "messages 5": {"model": "x", "messages": 5},
    "model": request("a", model=7), "model list": request("a", model=["a"]),
    "deep": b'{"model": "x", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": json.dumps(request("a")).replace("gpt-4o-mini", "x").replace("}", ', "temperature": NaN}', 1).encode(),
    "infinity": json.dumps(request("a", temperature=float("inf"))).encode(),
    "1e999": json.dumps(request("a")).encode()[:-1] + b', "temperature": 1e999}',
    "twice": json.dumps(request("a")).encode()[:-1] + b', "model": "other"}',
    "values": b'{"model": "x", "messages": [' + b"1," * 60_000 + b"1]}",
    "no JSON": b"{", "a list": b"[]", "nothing": b"", "bytes": b"\xff\xfe{}", "NUL": b"\0" * 100,
}  # fmt: skip


@pytest.fixture
async def app(start: Start, upstream: StandIn) -> Any:
    async with start(upstream) as app:
        yield app


async def test_too_much_is_400(app: App, upstream: StandIn) -> None:
    wrong = []
    for name, body in BODIES.items():
        answer = await post(app.port, body)
        if answer.status != 400 or not answer.code:
            wrong.append((name, answer.status, answer.body[:100]))
    assert wrong == []
    assert upstream.seen == []


ODD = [
    request("a", seed=10**400), request("a", seed=-(10**30)), request("a", stop=[None, 7]), request("a", user=5),
    request("a", messages=[{"role": "user", "content": [{"type": []}, {"type": {}}, 7, None]}]),
    request("a", messages=[{"role": "user", "content": {"a": 1}}, {"role": "user"}]),
    request("a", messages=[{"role": "user", "content": [{"type": "image_url", "image_url": 5}, {"type": "file"}]}]),
    request("a", tools=[7, {"function": 8}, {"function": {"parameters": []}}]), request("a", response_format=[]),
    request("a", response_format={"type": {}, "json_schema": []}), request("a", stream="yes"),
    request("a", stream=True, stream_options=5), request("question 1", stream=True, stream_options=[]),
    request("question 1", stream=True, stream_options="include_usage"), request("a", metadata=[[]], temperature=0),
    request("\ud800"), request("a", user="\ud800", temperature=0), request("a", messages=[{"role": ""}, {"role": "x"}]),
    request("a", messages=[{"role": "user", "content": "a", "content\ud800": 1}]), request("a", logit_bias={"x": []}),
    {"messages": [{"role": "user", "content": "a"}]}, request("a", n=0), request("a", n=None, max_tokens=None),
]  # fmt: skip


async def test_odd_fields_are_no_error_of_ours(app: App) -> None:
    for body in ODD:
        answer = await post(app.port, json.dumps(body).encode())
        assert answer.status in (200, 400), (body, answer)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/keys"])
async def test_the_same_on_other_routes(project: Project, start: Start, upstream: StandIn, path: str) -> None:
    secret = give(project, "boss", role="admin")
    bodies: list[Any] = [*BODIES.values(), *(json.dumps(body).encode() for body in ODD)]
    bodies += [json.dumps({"model": "x", "prompt": "a", "n": n, "max_tokens": n}).encode() for n in (-1, 1.5, 10**400)]
    bodies += [{"model": "x", "messages": m, "input": []} for m in (5, [7], {"a": 1}, [{"content": [{"type": []}]}])]
    async with start(upstream) as app:
        for body in bodies:
            answer = await post(app.port, body, secret, path)
            assert answer.status in ((200, 400) if path != "/v1/keys" else (400,)), (body, answer)
            assert answer.status == 200 or answer.code
        upstream.seen.clear()
        for body in [{"model": "x", "prompt": "a", name: n} for name in ("n", "best_of") for n in (9, 10**30)]:
            answer = await post(app.port, body, secret, path)
            assert path != "/v1/completions" or (answer.status, answer.code) == (400, "bad_field")
        assert path != "/v1/completions" or upstream.seen == []


async def test_places_of_a_key(project: Project, start: Start, upstream: StandIn) -> None:
    """Two at once, three in line; the rest is told when to come again; who hangs up leaves the line."""
    secret, other = give(project, "web"), give(project, "other")
    limits = replace(project.settings.limits, running_key=2, queued_key=3)
    upstream.mode = "steady"  # two seconds each
    body = {"model": "x", "messages": [{"role": "user", "content": "a"}], "stream": True}
    async with start(upstream, limits=limits) as app:
        calls = [asyncio.create_task(post(app.port, body, secret)) for _ in range(5)]
        await until(lambda: app.parts.admission.waiting == 3)
        for _ in range(3):
            answer = await post(app.port, body, secret)
            assert (answer.status, answer.code) == (429, "queue_full")
            assert answer.headers["retry-after"].isdecimal()
            assert int(answer.headers["retry-after"]) >= 1
        calls.append(asyncio.create_task(post(app.port, body, other)))  # another key's place is its own
        await until(lambda: len(upstream.seen) == 3)
        for one in calls[:2]:
            one.cancel()
        await until(lambda: len(upstream.seen) == 5)  # their places went to those in line
        calls[2].cancel()
        calls[3].cancel()
        await until(lambda: app.parts.admission.waiting == 0)
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [one.status for one in done if not isinstance(one, BaseException)].count(200) >= 1
        await until(lambda: app.parts.metrics.running == 0)
        assert app.parts.admission.tokens == 0


async def test_a_server_that_stops(start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app:
        assert (await get(app.port, path="/ready")).json == {"ready": True}
        app.stop()
        ready, chat, health = [
            await call(app.port, *asked)
            for asked in (("GET", "/ready"), ("POST", CHAT, request("question 1")), ("GET", "/health"))
        ]
        assert (ready.status, ready.json["why"]) == (503, "stopping")
        assert (chat.status, chat.code, chat.headers["retry-after"]) == (503, "stopping", "1")
        assert (health.status, health.json["status"]) == (503, "stopping")


def totals(text: str) -> dict[str, Counter[tuple[str, ...]]]:
    found: dict[str, Counter[tuple[str, ...]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = tuple(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, Counter())[key] += sample.value  # type: ignore[assignment]
    return found


async def test_metrics_are_the_ledgers_totals(project: Project, start: Start, upstream: StandIn) -> None:
    """And no label is a client's: 100 models, users and keys make no more series."""
    bodies = [request(f"question {i}") for i in range(20)] + [request("sing to me", stream=True)] * 5
    bodies += [request("sing to me", model="m-1000")]
    async with start(upstream) as app:
        for body in [*bodies, b"{"]:
            await post(app.port, body)
        await call(app.port, "GET", "/v1/../x")
        before = totals((await get(app.port, path="/metrics")).body.decode())
        for i in range(100):
            await post(app.port, request("sing to me", model=f"m-{i}", user=f"u-{i}", tools=None))
            await post(app.port, b"{", headers=[("X-Team", f"t-{i}")])
            await call(app.port, "GET", f"/v1/none-{i}/../x")
        text = (await get(app.port, path="/metrics")).body.decode()
        after = totals(text)
    rows = [row["freehold"] for row in ledger(project)]
    calls = after["freehold_calls_total"]
    assert sum(calls.values()) == len(rows) == 126
    by = Counter(row["answered_by"] for row in rows)
    for name, count in by.items():
        assert sum(n for key, n in calls.items() if f"answered_by={name}" in key) == count
    assert sum(map(len, after.values())) == sum(map(len, before.values()))
    assert not any(f"{mark}-{i}" in text for mark in ("m", "u", "t") for i in range(10, 100))
