"""Home answers, through the real openai client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from freehold.engines.scripted import ScriptedStudent
from freehold.nouns import Answer
from freehold.project import Project
from freehold.serve import chat as app_module
from freehold.traffic import read

from .conftest import SCRIPT, SYSTEM, StandIn, Start, client, ledger, new_verdict, request


async def test_a_sure_answer_stays_home(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app, client(app) as api:
        raw = await api.chat.completions.with_raw_response.create(**request("move 50 to savings"))
    answer = raw.parse()
    sha8 = new_verdict(project).student.sha256[:8]  # type: ignore[union-attr]
    assert answer.choices[0].message.content == "transfer"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == f"freehold/intents@{sha8}"
    assert raw.headers["x-freehold-answered-by"] == "student"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 10
    assert upstream.seen == []


@pytest.mark.parametrize("usage", [False, True])
async def test_a_home_answer_streams(start: Start, upstream: StandIn, usage: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}
    async with start(upstream) as app, client(app) as api:
        stream = await api.chat.completions.create(**request("what do i have"), stream=True, **options)
        chunks = [chunk async for chunk in stream]
        assert stream.response.headers["x-freehold-answered-by"] == "student"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "balance"
    assert [bool(chunk.usage) for chunk in chunks].count(True) == usage
    assert chunks[0].model.startswith("freehold/intents@")
    assert len({chunk.id for chunk in chunks}) == 1


async def test_every_home_answer_is_a_row_that_audit_reads(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(upstream, home=3600.0 / 3600) as app, client(app) as api:
        answer = await api.chat.completions.create(**request("move 50 to savings", user="u-1", temperature=0))
        (row,) = ledger(project)  # there as soon as the answer is
    own = row["freehold"]
    assert row["request"] == request("move 50 to savings", user="u-1", temperature=0)
    assert row["response"] == json.loads(answer.model_dump_json(exclude_unset=True))
    assert (own["answered_by"], own["why"], own["status"], own["http"]) == ("student", "home", "complete", 200)
    assert (own["id"], own["task"], own["probability"]) == (answer.id, "intents", 1.0)
    assert own["student"] | {"sha256": ""} == {"sha256": "", "answer": "transfer", "score": 0.99, "threshold": 0.9}
    assert own["money"]["home"] > 0
    assert own["money"]["saved"] == pytest.approx(2.0 / 1000 - own["money"]["home"])
    (call,) = read([project.path / "ledger"]).calls
    assert (call.answer, call.answered_by, call.why, call.user) == ("transfer", "student", "home", "u-1")
    assert call.seconds is not None


async def test_an_unsure_answer_goes_up_and_leaves_its_score(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.answer = "other"
    async with start(upstream) as app, client(app) as api:
        raw = await api.chat.completions.with_raw_response.create(**request("sing to me"))
    assert raw.headers["x-freehold-answered-by"] == "upstream"
    assert raw.parse().model == "gpt-4o-mini-2024"
    own = ledger(project)[0]["freehold"]
    assert (own["answered_by"], own["why"], own["status"], own["http"]) == ("upstream", "escalated", "complete", 200)
    assert own["student"]["score"] == 0.4
    assert own["money"] == {"home": 0.0, "saved": 0.0}
    (call,) = read([project.path / "ledger"]).calls
    assert (call.answer, call.answered_by, call.why, call.probability) == ("other", "upstream", "escalated", 1.0)


async def test_a_student_that_raises_lets_the_call_up(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app, client(app) as api:
        answer = await api.chat.completions.create(**request("a text that the script has never heard"))
    assert answer.model == "gpt-4o-mini-2024"
    own = ledger(project)[0]["freehold"]
    assert (own["why"], own["reason"], own["student"]) == ("refused", "the student failed: KeyError", None)


class Slow(ScriptedStudent):
    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        if texts == ["a text that takes its time"]:
            time.sleep(1.5)
            return [Answer("balance", 1.0)]
        return super().answers(texts)


async def test_nobody_waits_for_a_slow_student(
    project: Project, start: Start, upstream: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls behind it go up as well, the event loop goes on, and the student is back when it is done."""
    monkeypatch.setattr(app_module, "PATIENCE", 0.1)
    async with start(upstream, opener=lambda folder, artifact: Slow(SCRIPT)) as app, client(app) as api:
        texts = ["a text that takes its time", "what do i have", "move 50 to savings"]
        asked = [api.chat.completions.create(**request(text)) for text in texts]
        answers = await asyncio.wait_for(asyncio.gather(*asked), 1.4)
        assert {answer.model for answer in answers} == {"gpt-4o-mini-2024"}
        await asyncio.sleep(1.5)
        assert (await api.chat.completions.create(**request("what do i have"))).model.startswith("freehold/")
    assert {row["freehold"]["reason"] for row in ledger(project)} == {"the student took longer than 0.1 s", ""}


async def test_models_and_health(start: Start, upstream: StandIn) -> None:
    async with start(upstream) as app, client(app) as api:
        names = [model.id async for model in api.models.list()]
        health = app.health()
    assert names[0] == "gpt-4o-mini"
    assert names[1].startswith("freehold/intents@")
    assert health["status"] == "ok"
    assert health["unmonitored"] is True
    assert [(r["task"], r["open"]) for r in health["rungs"]] == [("intents", True), ("poems", False)]


async def test_a_conversation_goes_up(project: Project, start: Start, upstream: StandIn) -> None:
    longer = request("move 50 to savings")["messages"] + [{"role": "assistant", "content": "transfer"}]
    longer += [{"role": "user", "content": "Message: and back"}]
    async with start(upstream) as app, client(app) as api:
        await api.chat.completions.create(model="gpt-4o-mini", messages=longer)
    assert ledger(project)[0]["freehold"]["why"] == "unmatched"
    assert SYSTEM in upstream.seen[0][2].decode()
