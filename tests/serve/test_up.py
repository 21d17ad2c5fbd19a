"""What goes up goes up as it came, and what comes back comes back; every way an upstream can fail is told apart."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import aiohttp
import openai
import pytest
from multidict import CIMultiDictProxy

from freehold import wire
from freehold.engines.replay import Replay
from freehold.engines.upstream import HttpUpstream
from freehold.nouns import Audit
from freehold.project import Project
from freehold.traffic import read

from .conftest import QUICK, StandIn, Start, client, ledger, request, until

JSON = {"Content-Type": "application/json"}


async def post(port: int, body: bytes, **headers: str) -> tuple[int, CIMultiDictProxy[str], bytes]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with session.post(url, data=body, headers=JSON | headers) as response:
            return response.status, response.headers, await response.read()


async def test_bytes_up_and_bytes_back(start: Start, upstream: StandIn) -> None:
    """Odd spacing, escapes and unknown fields are part of the body; so is everything in the answer."""
    body = b'{ "model":"gpt-4o-mini", "x_new": 1.50, "messages" : [{"role":"user","content":"caf\\u00e9 \xc3\xa9"}]}\n'
    async with start(upstream) as app:
        status, headers, answer = await post(app.port, body, Authorization="Bearer sk-client-secret", Cookie="a=b")
    path, seen, got = upstream.seen[0]
    assert got == body
    assert path == "/v1/chat/completions"
    assert seen["authorization"] == "Bearer sk-ours"
    assert seen["content-type"] == "application/json"
    assert "cookie" not in seen
    assert "sk-client-secret" not in str(seen)
    assert status == 200
    assert json.loads(answer)["id"] == "chatcmpl-up"
    assert headers["x-request-id"] == "req-1"
    assert headers["x-freehold-answered-by"] == "upstream"
    assert "Set-Cookie" not in headers
    assert not [name for name in headers if name.lower().startswith("access-control")]


async def test_no_key_means_no_authorization(start: Start, upstream: StandIn) -> None:
    async with start(upstream, key="") as app, client(app) as api:
        await api.chat.completions.create(**request("sing to me"))
    assert "authorization" not in upstream.seen[0][1]


async def test_a_stream_comes_back_event_by_event(project: Project, start: Start, upstream: StandIn) -> None:
    asked = request("sing to me", stream=True)
    async with start(upstream) as app:
        _, headers, body = await post(app.port, wire.dumps(asked))
    sent = b"".join(
        wire.chunks("gpt-4o-mini", "transfer", wire.Tokens(40, 2), "chatcmpl-up", 1_790_000_001, usage=True)
    )
    assert body == sent
    assert headers["Content-Type"] == "text/event-stream"
    row = ledger(project)[0]
    assert row["freehold"]["status"] == "complete"
    assert row["response"]["choices"][0]["message"]["content"] == "transfer"
    assert row["response"]["usage"]["prompt_tokens"] == 40


async def test_the_first_event_does_not_wait_for_the_last(start: Start, upstream: StandIn) -> None:
    upstream.mode = "steady"
    async with start(upstream) as app, client(app) as api:
        stream = await api.chat.completions.create(**request("sing to me", stream=True))
        first = await asyncio.wait_for(anext(aiter(stream)), 1.0)  # the whole takes two seconds
        await stream.close()
    assert first.choices[0].delta.role == "assistant"


async def test_a_text_may_speak_of_the_end(start: Start, upstream: StandIn) -> None:
    upstream.answer = 'an event is "data: [DONE]"\n\ndata: [DONE]\n\nand so on'
    async with start(upstream) as app, client(app) as api:
        stream = await api.chat.completions.create(**request("sing to me", stream=True))
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text == upstream.answer


async def test_connections_to_the_upstream_are_used_again(start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app, client(app) as api:
        for stream in (True, False, True, True):
            raw = await api.chat.completions.with_raw_response.create(**request("sing to me", stream=stream))
            if stream:
                assert [chunk async for chunk in raw.parse()]
    assert len(upstream.seen) == 4
    assert len(upstream.connections) == 1


async def test_an_event_without_end_is_not_hoarded(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode = "long"
    async with start(upstream) as app:
        _, _, body = await post(app.port, wire.dumps(request("sing to me", stream=True)))
    assert body.count(b"x") > 256 << 10  # passed on as it came
    assert body.rpartition(b"\n\nevent: error\ndata: ")[2].startswith(b'{"error"')
    assert ledger(project)[0]["freehold"]["status"] == "partial"


# an upstream that fails


async def test_down(project: Project, start: Start) -> None:
    async with start(HttpUpstream("http://127.0.0.1:9/v1", "sk-ours", timeouts=QUICK)) as app, client(app) as api:
        with pytest.raises(openai.InternalServerError) as caught:
            await api.chat.completions.create(**request("sing to me"))
        home = await api.chat.completions.create(**request("move 50 to savings"))
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_unreachable"
    assert home.choices[0].message.content == "transfer"
    own = ledger(project)[0]["freehold"]
    assert (own["status"], own["http"], own["why"]) == ("failed", 502, "escalated")


@pytest.mark.parametrize("stream", [False, True])
async def test_slow(project: Project, start: Start, upstream: StandIn, stream: bool) -> None:
    upstream.mode = "stalled" if stream else "slow"
    timeouts = replace(QUICK, total=5.0 if stream else 0.6)
    async with start(HttpUpstream(upstream.url, "sk-ours", timeouts=timeouts)) as app:
        status, _, body = await post(app.port, wire.dumps(request("sing to me", stream=stream)))
        await asyncio.wait_for(upstream.gone.wait(), 1.0)  # and the upstream is let go
    own = ledger(project)[0]["freehold"]
    if stream:
        assert status == 200
        assert body.endswith(b"\n\n")
        assert b"[DONE]" not in body
        assert b"event: error\ndata: " in body
        assert (own["status"], own["reason"]) == ("partial", "score 0.4000 is below 0.9000; upstream_timeout")
    else:
        assert (status, json.loads(body)["error"]["code"]) == (504, "upstream_timeout")
        assert (own["status"], own["http"]) == ("failed", 504)


@pytest.mark.parametrize(
    ("mode", "status"), [("nonsense", 200), ("error200", 200), ("busy", 429), ("gzip", 200)], ids=str
)
async def test_odd_answers_come_back_as_they_are(
    project: Project, start: Start, upstream: StandIn, mode: str, status: int
) -> None:
    upstream.mode = mode
    async with start(upstream) as app:
        got, headers, body = await post(app.port, wire.dumps(request("sing to me")))
    own = ledger(project)[0]["freehold"]
    assert got == own["http"] == status
    assert own["status"] == ("complete" if mode == "gzip" else "failed")
    assert {"nonsense": b"\xff</html>", "error200": b"overloaded", "busy": b"too many", "gzip": b"\x1f\x8b"}[
        mode
    ] in body
    assert headers.get("Retry-After") == ("7" if mode == "busy" else None)
    assert headers.get("Content-Encoding") == ("gzip" if mode == "gzip" else None)
    traffic = read([project.path / "ledger"])
    assert traffic.bad_rows == 0
    assert [call.answer for call in traffic.calls] == [None]  # no evidence


async def test_an_error_inside_a_stream_comes_back(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode = "error200"
    async with start(upstream) as app:
        status, _, body = await post(app.port, wire.dumps(request("sing to me", stream=True)))
    assert status == 200
    assert b"overloaded" in body
    assert ledger(project)[0]["freehold"]["status"] == "partial"
    assert read([project.path / "ledger"]).calls[0].answer is None


async def test_a_broken_answer_is_never_half_an_answer(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode = "broken"
    async with start(upstream) as app, client(app) as api:
        with pytest.raises(openai.InternalServerError) as caught:
            await api.chat.completions.create(**request("sing to me"))
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_interrupted")
    assert ledger(project)[0]["freehold"]["status"] == "failed"


async def test_a_broken_stream_ends_with_an_error(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode = "broken"
    async with start(upstream) as app, client(app) as api:
        stream = await api.chat.completions.create(**request("sing to me", stream=True))
        texts = [(await anext(stream)).choices[0].delta.content for _ in range(2)]
        with pytest.raises(openai.APIError, match="broke off"):
            await anext(stream)
    assert texts == ["", "transfer"]
    row = ledger(project)[0]
    assert (row["freehold"]["status"], row["response"]["error"]["code"]) == ("partial", "upstream_interrupted")
    assert row["response"]["choices"][0]["message"]["content"] == "transfer"
    assert read([project.path / "ledger"]).calls[0].answer is None


async def test_no_redirect_is_followed(start: Start, upstream: StandIn) -> None:
    upstream.mode = "redirect"
    async with start(upstream) as app:
        status, headers, body = await post(app.port, wire.dumps(request("sing to me")))
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_redirects")
    assert "Location" not in headers
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away(project: Project, start: Start, upstream: StandIn, stream: bool) -> None:
    upstream.mode = "steady" if stream else "slow"
    async with start(HttpUpstream(upstream.url, "sk-ours")) as app:
        asking = asyncio.create_task(post(app.port, wire.dumps(request("sing to me", stream=stream))))
        await until(lambda: upstream.seen)
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait_for(upstream.gone.wait(), 1.0)
        await asyncio.sleep(0.05)
        row = ledger(project)[0]
    assert (row["freehold"]["status"], row["response"]["error"]["code"]) == ("partial", "client_gone")
    assert read([project.path / "ledger"]).calls[0].answer is None


# no upstream, replay, other routes


async def test_without_an_upstream(project: Project, start: Start) -> None:
    async with start(None) as app, client(app) as api:
        with pytest.raises(openai.InternalServerError) as caught:
            await api.chat.completions.create(**request("sing to me"))
        home = await api.chat.completions.create(**request("what do i have"))
        with pytest.raises(openai.NotFoundError):
            await api.embeddings.create(model="e", input="x")
    assert (caught.value.status_code, caught.value.code) == (503, "no_upstream")
    assert home.choices[0].message.content == "balance"
    own = ledger(project)[0]["freehold"]
    assert (own["status"], own["http"], own["why"]) == ("failed", 503, "escalated")


@pytest.mark.parametrize("stream", [False, True])
async def test_replay_answers_from_the_log(project: Project, start: Start, stream: bool) -> None:
    replay = Replay(read(project.load(Audit).log.paths).calls)
    async with start(replay, pairs=1.0) as app, client(app) as api:
        raw = await api.chat.completions.with_raw_response.create(**request("sing to me", stream=stream))
        with pytest.raises(openai.NotFoundError, match="replay") as caught:
            await api.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "new"}])
        assert app.health()["unmonitored"] is True
        assert raw.headers["x-freehold-answered-by"] == "replay"
        if stream:
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in raw.parse()])
        else:
            text = raw.parse().choices[0].message.content
    assert text == "balance"  # the latest in the log
    assert caught.value.code == "not_in_the_log"
    assert {r["freehold"]["answered_by"] for r in ledger(project)} == {"replay"}


async def test_other_routes_go_up(start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app, aiohttp.ClientSession(f"http://127.0.0.1:{app.port}") as session:
        async with session.post("/v1/embeddings?a=b%20c", data=b'{"input":"x"}', headers=JSON) as response:
            assert (response.status, await response.read()) == (200, b'{"data": "POST"}')
            assert response.headers["x-freehold-answered-by"] == "upstream"
        async with session.delete("/v1/files/file-1") as response:
            assert await response.read() == b'{"data": "DELETE"}'
        for odd in ("/v2/chat", "/", "/v1", "/v1/%2e%2e/admin", "/metric"):
            async with session.get(aiohttp.client.URL(odd, encoded=True)) as response:
                assert (odd, response.status) == (odd, 404)
                assert (await response.json())["error"]["code"] == "not_found"
        async with session.put("/v1/embeddings") as response:
            assert response.status == 405
    assert [path for path, _, _ in upstream.seen] == ["/v1/embeddings?a=b%20c", "/v1/files/file-1"]
    assert upstream.seen[0][2] == b'{"input":"x"}'
