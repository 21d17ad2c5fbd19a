"""The ledger's modes over HTTP: what a row holds, when it is safe, and what happens where none can be written."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.ledger.verify import check
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

from .conftest import StandIn, Start, ledger, request, until
from .gateway import CHAT, call, get, post
from .rollout import events
from .test_gateway_tasks import unwritable

SERVING = Path(__file__).with_name("serving.py")
PERSON = "ana.petrova@firm.example"


def with_ledger(project: Project, **said: Any) -> Any:
    return replace(project.settings, ledger=LedgerSettings(**said))


class Process:
    """serving.py, and what it says on stderr."""

    def __init__(self, project: Project, url: str, toml: str = "") -> None:
        rollout = "" if "[rollout]" in toml else '[rollout]\nstart = "full"\n'
        (project.path / "freehold.toml").write_text(f"{toml}\n{rollout}")
        self.log = project.path.parent / "stderr"
        with self.log.open("a") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(SERVING), str(project.path), url, "0"], stdout=subprocess.PIPE, stderr=err
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.port = int(line)

    def kill(self, how: int = signal.SIGKILL) -> int:
        self.process.send_signal(how)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.mark.parametrize(("durability", "rounds"), [("safe", 2), ("fast", 1)])
async def test_a_killed_server_has_the_row_of_every_answer(
    project: Project, upstream: StandIn, durability: str, rounds: int
) -> None:
    """kill -9 as soon as the last byte is there, whole and streamed, home and up; the chain verifies after each."""
    answered = 0
    for i in range(rounds):
        server = await asyncio.to_thread(Process, project, upstream.url, f'[ledger]\ndurability = "{durability}"')
        texts = ["question 1", "sing to me"]
        calls = [request(texts[(i + k) % 2], stream=k % 2 == 1, user=f"u-{i}-{k}") for k in range(8)]
        for body in calls:
            answer = await post(server.port, body)
            assert answer.status == 200
            assert "stream" not in body or not body["stream"] or b"[DONE]" in answer.body
            answered += 1
        server.kill()
        rows = [row for row in ledger(project) if row["freehold"]["status"] == "complete"]
        assert len(rows) == answered
        assert {body["user"] for body in calls} <= {row["request"]["user"] for row in rows}
        assert not check(project.path / "ledger").problems


@pytest.mark.parametrize("content", ["off", "redacted"])
async def test_rows_without_texts_feed_the_monitor(
    project: Project, start: Start, upstream: StandIn, content: str
) -> None:
    upstream.answer = "balance"
    async with start(upstream, pairs=1.0, settings=with_ledger(project, content=content)) as app:
        pairs = app.parts.pairs
        assert pairs is not None
        for i in range(3):
            await post(app.port, request("what do i have", user=PERSON))
            await post(app.port, request(f"write to {PERSON}", stream=bool(i % 2)))
        await until(lambda: pairs.asked == 3)
        before = app.parts.steps[0].monitor
        assert before is not None
        seen, evidence = before.seen, before.evidence
        assert seen == 3
    rows = ledger(project)
    assert len(rows) == 9
    assert PERSON not in json.dumps(rows)
    assert (SYSTEM_SAID in json.dumps(rows)) == (content == "redacted")
    assert [row["freehold"]["agrees"] for row in rows if row["freehold"]["why"] == "pair"] == [True] * 3
    async with start(upstream, pairs=1.0, settings=with_ledger(project, content=content)) as app:
        again = app.parts.steps[0].monitor
        assert again is not None
        assert (again.seen, again.evidence) == (seen, pytest.approx(evidence))


SYSTEM_SAID = "Name the intent"


async def test_no_row_no_answer_where_that_is_asked(project: Project, start: Start, upstream: StandIn) -> None:
    """failure = refuse: 503 at once, /ready says why; answers again by itself once rows can be written."""
    async with start(upstream, settings=with_ledger(project, failure="refuse")) as app:
        assert (await post(app.port, request("question 1"))).status == 200
        with unwritable(project):
            app.parts.ledger._retire()
            for text, stream in (("question 1", False), ("sing to me", False), ("sing to me", True)):
                answer = await post(app.port, request(text, stream=stream))
                assert (answer.status, answer.code) == (503, "ledger_unwritable")
                assert answer.headers["retry-after"].isdecimal()
            ready = await get(app.port, path="/ready")
            assert (ready.status, ready.json["why"]) == (503, "the ledger can't be written")
        async with asyncio.timeout(10):
            while (await get(app.port, path="/ready")).status != 200:  # noqa: ASYNC110 (it is the server that is watched)
                await asyncio.sleep(0.1)
        assert (await post(app.port, request("question 1"))).status == 200
    assert upstream.seen[1:] == []  # of the refused ones at most the one that found it out had gone up


async def test_a_stream_whose_row_fails_has_no_end(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(upstream, settings=with_ledger(project, failure="refuse", durability="safe")) as app:
        app.parts.ledger._retire()
        with unwritable(project):
            answer = await post(app.port, request("sing to me", stream=True))
            assert answer.status == 503 or b"[DONE]" not in answer.body
            assert b"ledger_unwritable" in answer.body


async def test_what_is_not_written_is_counted_where_calls_go_on(
    project: Project, start: Start, upstream: StandIn
) -> None:
    async with start(upstream) as app:
        app.parts.ledger._retire()
        with unwritable(project):
            for text in ("question 1", "sing to me"):
                assert (await post(app.port, request(text))).headers["x-freehold-answered-by"] == "upstream"
            health = (await get(app.port, path="/health")).json
            assert (health["status"], health["ledger"]["rows_lost"]) == ("degraded", 2)
            assert b"freehold_ledger_rows_lost_total 2.0" in (await get(app.port, path="/metrics")).body


async def test_facts_of_a_row(project: Project, start: Start, upstream: StandIn) -> None:
    """What was billed adds up, and a client that went away leaves a partial row with what it had."""
    upstream.mode = "steady"
    async with start(upstream, home=0.01) as app:
        with pytest.raises(TimeoutError):
            await call(app.port, "POST", CHAT, request("sing to me", stream=True), until=0.3)
        await until(lambda: len(ledger(project)) == 1)
        upstream.mode = "fine"
        for _ in range(3):
            await post(app.port, request("question 1"))
        await post(app.port, request("sing to me"))
    first, *rest = ledger(project)
    assert (first["freehold"]["status"], first["freehold"]["http"]) == ("partial", 200)
    assert first["response"]["choices"][0]["message"]["content"] == "transfer"
    home = [row["freehold"] for row in rest if row["freehold"]["why"] == "home"]
    bill = 2.0 / 1000
    assert len(home) == 3
    for row in home:
        assert row["money"]["home"] > 0
        assert row["money"]["saved"] == pytest.approx(bill - row["money"]["home"])
    assert [row["freehold"]["money"]["saved"] for row in rest if row["freehold"]["why"] != "home"] == [0.0]


async def test_a_closing_is_seen_by_another_process(project: Project, start: Start, upstream: StandIn) -> None:
    """This server's monitor closes the rung on disagreeing pairs; a process on the same folder follows."""
    upstream.answer = "transfer"
    server = await asyncio.to_thread(Process, project, upstream.url)
    try:
        assert (await post(server.port, request("question 1"))).headers["x-freehold-answered-by"] == "student"
        async with start(upstream, pairs=1.0) as app:
            for _ in range(60):
                await post(app.port, request("what do i have"))
                if not app.parts.steps[0].rung.open:
                    break
                await asyncio.sleep(0.01)
            await until(lambda: not app.parts.steps[0].rung.open)
            async with asyncio.timeout(5):
                by = "student"
                while by == "student":
                    by = (await post(server.port, request("question 1"))).headers["x-freehold-answered-by"]
    finally:
        assert server.kill(signal.SIGTERM) == 0
    assert "closed intents, as another process did" in server.log.read_text()
    assert [event["by"] for event in events(project, "closed")] == ["monitor"]


async def test_a_new_verdict_is_read_while_it_runs(project: Project, upstream: StandIn) -> None:
    """SIGUSR1: from upstream to home with no call lost; the stage it had comes along."""
    (verdict,) = project.verdicts()
    for path in (project.path / "verdicts").iterdir():
        path.unlink()
    server = await asyncio.to_thread(Process, project, upstream.url)
    try:
        by: list[str] = []
        for i in range(200):
            if i == 5:
                project.save(verdict)
                os.kill(server.process.pid, signal.SIGUSR1)
            answer = await post(server.port, request("question 1"))
            assert answer.status == 200
            by.append(answer.headers["x-freehold-answered-by"])
            if by[-1] == "student":
                break
            await asyncio.sleep(0.02)
        assert by[:5] == ["upstream"] * 5
        assert by[-1] == "student"
    finally:
        assert server.kill(signal.SIGTERM) == 0
