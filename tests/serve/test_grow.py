"""New verdicts while the server runs: the ladder grows a rung, and what is open is not disturbed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from freehold import wire
from freehold.nouns import Audit
from freehold.project import Project
from freehold.serve.app import App
from freehold.serve.ladder.rungs import close
from freehold.serve.listen import Stop

from .conftest import StandIn, Start, client, new_verdict, request, until
from .test_text import BOOKING, CITY, FIELDS, Engine, ask, moved, opening, rung


async def again(app: App, stop: Stop, said: list[str]) -> None:
    """Read the project again, and wait until that is done."""
    said.clear()
    stop.again.set()
    await until(lambda: any(line.startswith(("read again", "the rungs stay")) for line in said))


def telling() -> tuple[list[str], Callable[..., None]]:
    said: list[str] = []
    return said, lambda what, done=None, /: said.append(what)


async def test_a_new_verdict_grows_a_rung(project: Project, start: Start, upstream: StandIn) -> None:
    stop, (said, tell), engine = Stop(), telling(), Engine()
    async with start(upstream, opener=opening(engine), stop=stop, tell=tell, pairs=0.5) as app, client(app) as api:
        await api.chat.completions.create(**request("what do i have"))
        assert (await api.chat.completions.create(**ask(FIELDS, "two seats"))).model == "gpt-4o-mini-2024"
        before = next(s for s in app.parts.steps if s.rung.task.name == "intents")
        moved(project, FIELDS)
        await again(app, stop, said)
        assert (await api.chat.completions.create(**ask(FIELDS, "two seats"))).model.startswith("freehold/fields@")
        after = next(s for s in app.parts.steps if s.rung.task.name == "intents")
        assert after is before  # with its monitor and its student
        assert "home fields" in said
        assert said[-1] == "read again: 2 of 3 tasks are answered at home"
    assert engine.closed.is_set()
    events = [(e["task"], e["event"]) for e in project.rows("rungs.jsonl")]
    assert events == [("intents", "opened"), ("fields", "opened")]


async def test_a_changed_verdict_takes_over_and_the_old_engine_ends(
    project: Project, start: Start, upstream: StandIn, monkeypatch: Any
) -> None:
    monkeypatch.setattr("freehold.serve.ladder.grow.PATIENCE", 0.05)
    monkeypatch.setattr("freehold.serve.seats.students.LONG", 0.1)
    stop, (said, tell), old, new = Stop(), telling(), Engine(), Engine(says='{"city":"Bergen"}')
    moved(project, FIELDS)
    async with start(upstream, opener=opening(old, new), stop=stop, tell=tell) as app, client(app) as api:
        assert (await api.chat.completions.create(**ask(FIELDS, "two"))).choices[0].message.content == CITY
        audit = project.load(Audit)
        project.save(replace(audit, tasks=tuple(t for t in audit.tasks if t.name != "fields")))
        moved(project, FIELDS, threshold=0.5)
        await again(app, stop, said)
        answer = await api.chat.completions.create(**ask(FIELDS, "two"))
        assert answer.choices[0].message.content == '{"city":"Bergen"}'
        await until(old.closed.is_set)
        assert not new.closed.is_set()


async def test_what_the_monitor_closed_stays_closed(project: Project, start: Start, upstream: StandIn) -> None:
    stop, (said, tell) = Stop(), telling()
    async with start(upstream, stop=stop, tell=tell, pairs=0.5) as app:
        close(project, app.parts.steps[0], "the promise of 0.95 fails")
        await again(app, stop, said)
        step = next(s for s in app.parts.steps if s.rung.task.name == "intents")
        assert (step.rung.open, step.rung.why) == (False, "the promise of 0.95 fails")


async def test_an_engine_s_rung_opens_again(project: Project, start: Start, upstream: StandIn) -> None:
    stop, (said, tell) = Stop(), telling()
    moved(project, FIELDS)
    async with start(upstream, opener=opening(Engine(), Engine()), stop=stop, tell=tell) as app, client(app) as api:
        for text in ("poison", "poison 2"):
            await api.chat.completions.create(**ask(FIELDS, text))
        assert not rung(app, FIELDS)["open"]
        await again(app, stop, said)
        assert rung(app, FIELDS)["open"]


async def test_a_project_that_can_t_be_read_changes_nothing(project: Project, start: Start, upstream: StandIn) -> None:
    stop, (said, tell) = Stop(), telling()
    async with start(upstream, stop=stop, tell=tell) as app, client(app) as api:
        steps = app.parts.steps
        (project.path / "audit.json").write_bytes(b'{"half')
        await again(app, stop, said)
        assert app.parts.steps is steps
        assert "audit.json" in said[-1]
        assert (await api.chat.completions.create(**request("what do i have"))).model.startswith("freehold/")


async def test_the_signal(project: Project, upstream: StandIn) -> None:
    moved(project, BOOKING)  # serving.py opens scripted students only: this one stays closed
    verdict = new_verdict(project, decision="need_more", threshold=None)
    here = str(Path(__file__).parent / "serving.py")
    pipe = asyncio.subprocess.PIPE
    argv = [sys.executable, here, str(project.path), upstream.url, "0"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"Content-Type": "application/json"}
        project.save(replace(verdict, decision="move", threshold=0.9))
        os.kill(process.pid, signal.SIGUSR1)
        while not (await asyncio.wait_for(process.stderr.readline(), 30)).startswith(b"read again: 1 of 3"):
            pass
        body = wire.dumps(request("what do i have"))
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
            assert response.headers["x-freehold-answered-by"] == "student"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
