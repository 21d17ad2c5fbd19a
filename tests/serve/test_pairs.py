"""Pairs: asked in the background, counted when lost, and the rung closes by itself when the promise fails."""

from __future__ import annotations

import asyncio

import pytest

from freehold.project import Project
from freehold.serve.pairing.pairs import WAITING
from freehold.traffic import read

from .conftest import StandIn, Start, client, ledger, request, until

HOME = request("what do i have")  # the student says balance


async def test_a_pair_is_a_row_of_its_own(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.answer = " balance\n"  # the same label
    async with start(upstream, pairs=1.0) as app, client(app) as api:
        answer = await api.chat.completions.create(**HOME, user="u-1")
        assert app.parts.pairs is not None
        await until(lambda: app.parts.pairs.asked == 1)  # type: ignore[union-attr]
        watch = app.health()["rungs"][0]["monitor"]
    assert (watch["pairs"], watch["differ"]) == (1, 0)
    home, pair = [row["freehold"] for row in ledger(project)]
    assert (home["why"], home["pairs"]) == ("home", 1.0)
    assert (pair["why"], pair["answered_by"], pair["status"], pair["agrees"]) == ("pair", "upstream", "complete", True)
    assert pair["id"] == home["id"] == answer.id
    assert pair["probability"] == 1.0
    assert pair["student"] == home["student"]
    assert pair["money"]["saved"] == pytest.approx(-2.0 / 1000)
    assert upstream.seen[0][1]["authorization"] == "Bearer sk-ours"
    calls = read([project.path / "ledger"]).calls
    assert [(c.answered_by, c.why, c.answer) for c in calls] == [
        ("student", "home", "balance"),
        ("upstream", "pair", " balance\n"),
    ]


async def test_a_streamed_call_makes_a_streamed_pair(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.answer = "balance"
    async with start(upstream, pairs=1.0) as app, client(app) as api:
        async for _ in await api.chat.completions.create(**HOME, stream=True):
            pass
        await until(lambda: app.parts.pairs.asked == 1)  # type: ignore[union-attr]
    assert ledger(project)[1]["freehold"]["agrees"] is True


async def test_a_refusal_disagrees_as_it_does_in_the_proof(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.mode = "refuses"
    async with start(upstream, pairs=1.0) as app, client(app) as api:
        await api.chat.completions.create(**HOME)
        await until(lambda: app.parts.pairs.asked == 1)  # type: ignore[union-attr]
        watch = app.health()["rungs"][0]["monitor"]
    assert (watch["pairs"], watch["differ"]) == (1, 1)
    assert ledger(project)[1]["freehold"]["agrees"] is False


async def test_the_share_is_kept(start: Start, upstream: StandIn) -> None:
    upstream.answer = "balance"
    async with start(upstream, pairs=0.25) as app, client(app) as api:
        assert app.parts.pairs is not None
        draws = iter([0.1, 0.3, 0.249, 0.25] * 5)
        app.parts.pairs.draw = lambda: next(draws)
        for _ in range(20):
            await api.chat.completions.create(**HOME)
        await until(lambda: app.parts.pairs.asked == 10)  # type: ignore[union-attr]
        await asyncio.sleep(0.05)
        assert len(upstream.seen) == 10


async def test_clients_do_not_wait_for_pairs_and_lost_ones_are_counted(
    project: Project, start: Start, upstream: StandIn
) -> None:
    upstream.mode = "slow"
    async with start(upstream, pairs=0.1) as app, client(app) as api:
        assert app.parts.pairs is not None
        app.parts.pairs.draw = lambda: 0.0
        async with asyncio.timeout(20.0):  # a pair takes 0.4 s to fail: one after the other they would take 40 s
            for _ in range(WAITING + 40):
                await api.chat.completions.create(**HOME)
        lost = app.parts.pairs.lost
        assert lost > 0
        assert app.health()["pairs"]["lost"] == lost
    assert all(own["status"] == "failed" for row in ledger(project) if (own := row["freehold"])["why"] == "pair")


async def test_the_rung_closes_by_itself_and_stays_closed(project: Project, start: Start, upstream: StandIn) -> None:
    """The upstream now says something else each time: the evidence grows until the rung closes."""
    upstream.answer = "transfer"
    said: list[str] = []
    async with start(upstream, pairs=1.0, tell=lambda what, done=None, /: said.append(what)) as app, client(app) as api:
        for i in range(60):
            answer = await api.chat.completions.create(**HOME)
            if not answer.model.startswith("freehold/"):
                break
            await until(lambda i=i: app.parts.pairs.asked == i + 1)  # type: ignore[misc, union-attr]
        assert 3 < i < 20
        assert not app.health()["rungs"][0]["open"]
    (closing,) = [event for event in project.rows("rungs.jsonl") if event["event"] == "closed"]
    assert closing["by"] == "monitor"
    assert "pairs differ" in closing["why"]
    assert any(line.startswith("closed intents: the promise of 0.95 fails") for line in said)
    own = ledger(project)[-1]["freehold"]
    assert (own["why"], own["answered_by"]) == ("closed", "upstream")
    assert own["student"]["answer"] == "balance"  # what it would have said is kept for the next proof
    async with start(upstream, pairs=1.0) as app:
        assert not app.health()["rungs"][0]["open"]


async def test_the_monitor_remembers_across_restarts(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.answer = "transfer"
    evidence = []
    for i in range(3):
        async with start(upstream, pairs=0.5) as app, client(app) as api:
            assert app.parts.pairs is not None
            evidence.append(app.health()["rungs"][0]["monitor"]["evidence"])
            app.parts.pairs.draw = iter([0.9, 0.1]).__next__
            await api.chat.completions.create(**HOME)
            await api.chat.completions.create(**HOME)
            await until(lambda: app.parts.pairs.asked == 1)  # type: ignore[union-attr]
            after = app.health()["rungs"][0]["monitor"]
            assert after["pairs"] == after["differ"] == i + 1
    assert evidence[0] == 0.0 < evidence[1] < evidence[2]


async def test_unwatched_closes(project: Project, start: Start, upstream: StandIn) -> None:
    """At a share of 0.5, 40 kept calls without a pair close the rung; the count goes on after a restart."""
    for _ in range(2):
        async with start(upstream, pairs=0.5) as app, client(app) as api:
            assert app.parts.pairs is not None
            app.parts.pairs.draw = lambda: 0.99
            for _ in range(20):
                assert (await api.chat.completions.create(**HOME)).model.startswith("freehold/")
    assert "went by without a pair" in project.rows("rungs.jsonl")[-1]["why"]
    async with start(upstream, pairs=0.5) as app:
        assert not app.health()["rungs"][0]["open"]


async def test_calls_nobody_meant_to_watch_do_not_count(start: Start, upstream: StandIn) -> None:
    async with start(upstream, pairs=0.0) as app, client(app) as api:
        assert app.health()["unmonitored"] is True
        for _ in range(45):
            await api.chat.completions.create(**HOME)
    async with start(upstream, pairs=0.5) as app:
        assert app.health()["rungs"][0]["open"]
        assert app.health()["unmonitored"] is False
    assert upstream.seen == []
