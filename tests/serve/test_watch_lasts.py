"""The watch survives odd answers, slow upstreams, restarts with another share, and files that can't be written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from freehold import wire
from freehold.engines.upstream import HttpUpstream, Reply
from freehold.nouns import Tokens
from freehold.project import Project
from freehold.serve.app import App

from .conftest import Start, client, ledger, request, until

HOME = request("what do i have")  # the student says balance


def completion(answer: str = "balance", **fields: Any) -> bytes:
    return wire.dumps(wire.completion("gpt-4o-mini", answer, Tokens(4, 2), "chatcmpl-up", 1_790_000_001) | fields)


@dataclass
class Gated:
    """An upstream in this process: `says` makes the n-th answer, which waits for `gate`."""

    says: Callable[[int], bytes] = lambda n: completion()
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    kind: str = "upstream"

    @asynccontextmanager
    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, whole: bool = False
    ) -> AsyncIterator[Reply]:
        self.asked += 1
        await self.gate.wait()
        left = [self.says(self.asked)]

        async def read() -> bytes:
            return left.pop() if left else b""

        yield Reply(200, [("content-type", "application/json")], read)

    async def close(self) -> None:
        self.gate.set()


def opened(says: Callable[[int], bytes]) -> Gated:
    gated = Gated(says)
    gated.gate.set()
    return gated


async def home(api: Any, times: int = 1) -> bool:
    """Whether all of so many calls were answered at home."""
    answers = [await api.chat.completions.create(**HOME) for _ in range(times)]
    return all(answer.model.startswith("freehold/") for answer in answers)


async def until_closed(app: App, api: Any) -> None:
    assert app.parts.pairs is not None
    while rung(app)["open"]:
        asked = app.parts.pairs.asked
        assert await home(api)
        await until(lambda asked=asked: app.parts.pairs.asked > asked)  # type: ignore[misc, union-attr]


def rung(app: App) -> dict[str, Any]:
    found: dict[str, Any] = app.health()["rungs"][0]
    return found


def closings(project: Project) -> list[dict[str, Any]]:
    return [row for row in project.rows("rungs.jsonl") if row["event"] == "closed" and row["by"] == "monitor"]


@pytest.mark.parametrize("created", ["2026-11-24 22:00:00 UTC", [1], -5, {"at": 1}, True])
async def test_an_odd_time_in_an_answer_is_still_a_pair(project: Project, start: Start, created: object) -> None:
    async with start(opened(lambda n: completion(created=created)), pairs=1.0) as app, client(app) as api:
        for n in (1, 2):
            assert await home(api)
            await until(lambda n=n: app.parts.pairs.asked == n)  # type: ignore[misc, union-attr]
    assert [row["freehold"]["agrees"] for row in ledger(project) if row["freehold"]["why"] == "pair"] == [True, True]


async def test_whatever_is_raised_the_next_pair_is_asked(start: Start) -> None:
    said: list[str] = []

    def says(n: int) -> bytes:
        if n == 1:
            raise LookupError("what a user wrote")
        return completion()

    options = {"pairs": 1.0, "tell": lambda what, done=None, /: said.append(what)}
    async with start(opened(says), **options) as app, client(app) as api:
        assert await home(api, 2)
        await until(lambda: app.parts.pairs.asked == 1)  # type: ignore[union-attr]
        assert app.health()["pairs"]["lost"] == 1
    assert "a pair of intents is lost: LookupError" in said
    assert "what a user wrote" not in "".join(said)


async def test_kept_calls_count_with_the_share_of_their_own_run(start: Start) -> None:
    """30 calls at a share of 0.5 are 15 pairs expected: no reason to close, also where the next run asks them all."""
    async with start(opened(lambda n: completion()), pairs=0.5) as app, client(app) as api:
        assert app.parts.pairs is not None
        app.parts.pairs.draw = lambda: 0.99
        assert await home(api, 30)
    async with start(opened(lambda n: completion()), pairs=1.0) as app, client(app) as api:
        assert app.parts.pairs is not None
        assert rung(app)["open"]
        app.parts.pairs.draw = lambda: 1.0
        assert await home(api, 5)  # the fifth is the twentieth pair expected, and closes
        assert "went by without a pair" in rung(app)["why"]


async def differing(start: Start, share: float, stop: Callable[[App], bool]) -> float:
    """Pairs that differ, until `stop`; the evidence then."""
    async with start(opened(lambda n: completion("transfer")), pairs=share) as app, client(app) as api:
        assert app.parts.pairs is not None
        app.parts.pairs.draw = lambda: 0.0
        while not stop(app):
            asked = app.parts.pairs.asked
            assert await home(api)
            await until(lambda asked=asked: app.parts.pairs.asked > asked)  # type: ignore[misc, union-attr]
        return float(rung(app)["monitor"]["evidence"])


async def test_evidence_is_the_same_for_a_run_with_another_share(project: Project, start: Start) -> None:
    """It counts in kept calls: a run that asks fewer is neither nearer to its limit nor farther from it."""
    evidence = await differing(start, 1.0, lambda app: rung(app)["monitor"]["evidence"] >= 50_000)
    assert evidence < 200_000
    for share in (0.0, 0.02):
        async with start(opened(lambda n: completion("transfer")), pairs=share) as app:
            assert rung(app)["open"]
            assert share == 0.0 or rung(app)["monitor"]["evidence"] == pytest.approx(evidence)
    async with start(opened(lambda n: completion("transfer")), pairs=0.02) as app, client(app) as api:
        assert app.parts.pairs is not None
        app.parts.pairs.draw = lambda: 0.0
        assert await home(api)
        await until(lambda: not rung(app)["open"])
    (closing,) = closings(project)
    assert "of 200,000" in closing["why"]


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_an_alarm_whose_closing_was_lost_closes_at_the_next_start(
    project: Project, start: Start, share: float
) -> None:
    await differing(start, 0.02, lambda app: not rung(app)["open"])
    (project.path / "rungs.jsonl").unlink()
    async with start(opened(lambda n: completion()), pairs=share) as app:
        assert not rung(app)["open"]
        assert app.health()["unmonitored"] is (share == 0.0)
    assert len(closings(project)) == 1


async def test_a_pair_under_way_is_a_watch_for_as_long_as_it_may_take(project: Project, start: Start) -> None:
    gated = Gated()
    async with start(gated, pairs=1.0) as app, client(app) as api:
        assert app.parts.pairs is not None
        assert await home(api, 40)  # 40 pairs expected, one under way, 39 in the queue
        assert rung(app)["open"]
        app.parts.pairs.patience = 0.0
        await home(api)
        assert "went by without a pair" in rung(app)["why"]
    assert len(closings(project)) == 1


async def test_an_alarm_closes_once(project: Project, start: Start) -> None:
    said: list[str] = []
    gated = Gated(lambda n: completion("transfer"))
    options = {"pairs": 1.0, "tell": lambda what, done=None, /: said.append(what)}
    async with start(gated, **options) as app, client(app) as api:
        assert await home(api, 30)
        gated.gate.set()
        await until(lambda: app.parts.pairs.asked == 30)  # type: ignore[union-attr]
        assert rung(app)["monitor"]["pairs"] == 30
    assert len(closings(project)) == 1
    assert len([line for line in said if line.startswith("closed intents")]) == 1


@pytest.mark.parametrize("when", ["serving", "stopping"])
async def test_a_closing_that_cannot_be_written_is_written_later(project: Project, start: Start, when: str) -> None:
    said: list[str] = []
    path, aside = project.path / "rungs.jsonl", project.path / "aside"
    options = {"pairs": 1.0, "tell": lambda what, done=None, /: said.append(what)}
    async with start(opened(lambda n: completion("transfer")), **options) as app, client(app) as api:
        path.rename(aside)
        path.mkdir()
        await until_closed(app, api)
        assert not rung(app)["open"]
        path.rmdir()
        aside.rename(path)
        if when == "serving":
            await until(lambda: closings(project))
    assert len(closings(project)) == 1
    assert any("tried again" in line for line in said)


async def test_a_closing_that_was_never_written_is_said(project: Project, start: Start) -> None:
    said: list[str] = []
    path = project.path / "rungs.jsonl"
    options = {"pairs": 1.0, "tell": lambda what, done=None, /: said.append(what)}
    async with start(opened(lambda n: completion("transfer")), **options) as app, client(app) as api:
        path.unlink()
        path.mkdir()
        await until_closed(app, api)
    assert any(line.startswith("the closing of intents could not be written") for line in said)
    path.rmdir()
    async with start(Gated()) as app:
        assert "pairs differ" in rung(app)["why"]


async def test_a_pair_under_way_at_the_stop_is_lost_and_counted(project: Project, start: Start) -> None:
    said: list[str] = []
    gated = Gated()
    options = {"pairs": 1.0, "tell": lambda what, done=None, /: said.append(what)}
    async with start(gated, **options) as app, client(app) as api:
        assert await home(api, 3)
        await until(lambda: gated.asked == 1)
    assert "3 pairs were lost, 0 were compared" in said
    (own,) = [row["freehold"] for row in ledger(project) if row["freehold"]["why"] == "pair"]
    assert (own["status"], own["agrees"], own["reason"]) == ("failed", None, "server_stopped")


async def test_a_pair_keeps_no_key_that_the_upstream_repeats(project: Project, start: Start) -> None:
    key = b"sk-ours-and-long-enough"

    async def loud(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = wire.error(f"bad key {key.decode()}", "auth")
        head = b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        writer.close()

    async with await asyncio.start_server(loud, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        upstream = HttpUpstream(f"http://127.0.0.1:{port}/v1", key.decode())
        async with start(upstream, pairs=1.0) as app, client(app) as api:
            assert await home(api)
            await until(lambda: app.parts.pairs.lost == 1)  # type: ignore[union-attr]
    rows = b"".join(wire.dumps(row) for row in ledger(project))
    assert b"bad key" in rows
    assert key not in rows
