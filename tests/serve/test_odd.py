"""What no client and no upstream should do: a loop, paths around the ledger, answers too deep, a defect of our own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freehold import wire
from freehold.engines.replay import Replay
from freehold.engines.upstream import HttpUpstream
from freehold.nouns import Audit, Tokens
from freehold.project import Project
from freehold.traffic import read

from .conftest import QUICK, StandIn, Start, ledger, request
from .test_bytes import ONE, saying, speaking, whole
from .test_door import error, raw, status, talk
from .test_up import post


async def test_its_own_upstream(project: Project, start: Start) -> None:
    async with start(HttpUpstream("http://127.0.0.1:9/v1", "", timeouts=QUICK)) as app:
        assert app.parts.fleet is not None
        host = app.parts.fleet.hosts[0]
        host.upstream = HttpUpstream(f"http://127.0.0.1:{app.port}", "", timeouts=QUICK)
        code, _, body = await post(app.port, ONE)
        other = await talk(app.port, raw(app, path="/v1/embeddings"))
        await host.upstream.close()
    assert (code, json.loads(body)["error"]["code"]) == (508, "loop")
    assert status(other) == 508
    assert [row["freehold"]["http"] for row in ledger(project)] == [508]


class Defect(HttpUpstream):
    """An upstream with a mistake in it, which the server can't know."""

    def send(self, *args: object, **more: object) -> Any:
        raise LookupError("a user's own text")


async def test_a_defect_has_a_row_and_an_error(
    project: Project, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    async with start(Defect("http://127.0.0.1:9/v1", "")) as app:
        got = await talk(app.port, raw(app, ONE))
    assert status(got) == 502
    assert error(got)["code"] == "server_error"
    assert b"Server: freehold\r\n" in got
    own = ledger(project)[0]["freehold"]
    assert (own["status"], own["http"]) == ("failed", 502)
    assert own["reason"].endswith("LookupError")
    assert "own text" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("depth", [100, 960, 5000])
async def test_an_answer_nested_too_deeply_has_a_row(project: Project, start: Start, depth: int) -> None:
    answer = wire.completion("m", "transfer", Tokens(), "x", 1)
    body = wire.dumps(answer)[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"
    async with speaking(saying(whole(body))) as up, start(up) as app:
        got = await post(app.port, ONE)
    assert (got[0], got[2]) == (200, body)
    assert ledger(project)[0]["freehold"]["status"] == ("complete" if depth == 100 else "failed")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/", "/v1//chat/completions", "/v1/./chat/completions", "/v1/chat//completions",
        "/v1/chat/completions/.", "/v1/chat/completions/..", "/v1/Chat/Completions", "/v1/models/", "/v1/", "/v1/a/./b",
        "/v1/chat/completions/?x=1",
    ],
)  # fmt: skip
async def test_no_way_around_the_ledger(start: Start, upstream: StandIn, path: str) -> None:
    async with start(upstream) as app:
        got = await talk(app.port, raw(app, path=path))
        fine = await talk(app.port, raw(app, path="/v1/chat/completions/chatcmpl-1/messages.json", method="GET"))
    assert status(got) == 404
    assert [seen[0] for seen in upstream.seen] == ["/v1/chat/completions/chatcmpl-1/messages.json"]
    assert status(fine) == 200


async def test_a_query_goes_up(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app:
        home = wire.dumps(request("move 50 to savings"))
        got = await talk(app.port, raw(app, home, path="/v1/chat/completions?api-version=1"))
        odd = await talk(app.port, raw(app, home, path="/v1/chat/completions?a\xe9"))
    assert b"x-freehold-answered-by: upstream" in got
    assert upstream.seen[0][0] == "/v1/chat/completions?api-version=1"
    own = ledger(project)[0]["freehold"]
    assert (own["why"], own["task"], own["student"]) == ("refused", "intents", None)
    assert own["reason"] == "a query"
    assert status(odd) == 400


async def test_the_server_has_one_name(start: Start) -> None:
    async with start(None) as app:
        for bad in (b"nonsense\r\n\r\n", raw(app, path="/nowhere"), raw(app, Host="evil.example")):
            answer = await talk(app.port, bad)
            assert b"\r\nServer: freehold\r\n" in answer
            assert b"aiohttp" not in answer.lower()


@pytest.mark.parametrize("options", ["x", [1], {"include_usage": "yes"}, {"include_usage": None}, 3])
async def test_a_replay_of_odd_options(project: Project, start: Start, options: Any) -> None:
    replay = Replay(read(project.load(Audit).log.paths).calls)
    async with start(replay) as app:
        body = wire.dumps(request("move 50 to savings", stream=True, stream_options=options))
        got = await talk(app.port, raw(app, body))
    assert status(got) == 200
    assert b"x-freehold-answered-by: replay" in got  # up: the student honours no such value
    assert b"[DONE]" in got
    assert ledger(project)[0]["freehold"]["why"] == "refused"
