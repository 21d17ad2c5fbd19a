"""Rungs whose students extract and write: JSON and tool calls over HTTP, slow students, engines that die."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from freehold import wire
from freehold.engines.scripted import ScriptedStudent
from freehold.errors import EngineFailed, MissingExtra
from freehold.nouns import Answer, Artifact, Audit, Measure, Slot, Student, Task, TaskStudent, Template, Verdict
from freehold.project import Project
from freehold.serve.seats.students import Students

from .conftest import EVIDENCE, SCRIPT, StandIn, Start, client, ledger, request, scripted, until

FORMAT = {"type": "json_object"}
TOOLS = [{"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}]
FIELDS = Task(
    name="fields",
    template=Template((Slot("system", "Give the fields as JSON."), Slot("user", "", "", variable=True))),
    kind="json",
    calls=500,
    share=0.2,
    rule="json",
    models=("gpt-4o-mini",),
    params={"response_format": [FORMAT]},
    answer_tokens=30,
    money=Measure(1.0, unit="USD"),
    example="two seats in oslo",
)
BOOKING = replace(
    FIELDS,
    name="booking",
    template=Template((Slot("system", "Book what is asked."), Slot("user", "", "", variable=True))),
    kind="tools",
    rule="tools",
    params={"tools": [TOOLS]},
    reads=("tools",),
)
CITY = '{"city":"Oslo","seats":2}'
CALLS = '[{"name":"book","arguments":{"city":"Oslo"}}]'
ABOUT = b'{"mode": "merged", "quant": "Q8_0", "context": 40}'
USUAL = Measure(300.0, 280.0, 400.0, 200, "ms")


@dataclass
class Engine:
    """A student behind an engine: it takes its time, dies on some texts, can't read long ones, and must be closed."""

    seconds: float = 0.0
    context: int = 512
    dies_on: str = "poison"
    says: str = ""
    asked: list[str] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Answer:
        self.asked.append(text)
        if text.startswith(self.dies_on):
            raise EngineFailed("The engine died twice on the same call.")
        if len(text) > self.context:
            return Answer("", 0.0, able=False)
        if text != "stored":
            time.sleep(self.seconds)
        tools = "\n\n" in text
        return Answer((self.says if text != "stored" else "") or (CALLS if tools else CITY), 0.97)

    def close(self) -> None:
        self.closed.set()


def ask(task: Task, text: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": task.template.slots[0].before}, {"role": "user", "content": text}]
    return {"model": "gpt-4o-mini", "messages": messages} | fields


def moved(project: Project, task: Task, answer: str = CITY, parents: tuple[str, ...] = (), **changes: Any) -> None:
    """A verdict that moves `task` to an artefact of kind decoder, saved, and the task in the audit."""
    checks = [{"text": "stored", "label": answer, "score": 0.97}]
    made = project.write_artifact(
        {"checks.json": json.dumps(checks).encode(), "decoder.json": ABOUT},
        kind="decoder", task=task.name, base="tiny", licence="MIT", recipe={}, data_sha256="0" * 64,
        parents=parents,
    )  # fmt: skip
    kept = Measure(0.8, 0.75, 0.85, 290)
    verdict = Verdict(
        task=task.name, kind=task.kind, calls=500, share=0.2, bar=0.95, confidence=0.95, decision="move", reason="",
        needed=None, kept_home=kept, agreement=kept, threshold=0.9, student=TaskStudent(made.sha256, "tiny", "MIT"),
        evidence=EVIDENCE, asked=task, made="2026-10-02T00:00:00+00:00", latency=USUAL,
    )  # fmt: skip
    project.save(replace(verdict, **changes))
    audit = project.load(Audit)
    project.save(replace(audit, tasks=(*audit.tasks, task)))


def opening(*engines: Engine) -> Callable[[Path, Artifact], Student]:
    """Opens these engines, one a text task; label tasks get their script."""
    left = iter(engines)
    return lambda folder, artifact: next(left) if artifact.kind == "decoder" else scripted(folder, artifact)


def rung(app: Any, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in app.health()["rungs"] if r["task"] == task.name)
    return found


async def test_json_stays_home_as_text(project: Project, start: Start, upstream: StandIn) -> None:
    moved(project, FIELDS)
    async with start(upstream, opener=opening(Engine())) as app, client(app) as api:
        answer = await api.chat.completions.create(**ask(FIELDS, "two seats in oslo", response_format=FORMAT))
        other = {"type": "json_schema", "json_schema": {"name": "other", "schema": {}}}
        up = await api.chat.completions.create(**ask(FIELDS, "two seats in oslo", response_format=other))
        health = rung(app, FIELDS)
    assert answer.choices[0].message.content == CITY
    assert answer.model.startswith("freehold/fields@")
    assert up.model == "gpt-4o-mini-2024"
    assert (health["student"], health["kind"]) == ("LoRA on tiny, merged, Q8_0", "json")
    assert health["patience"] == 4.0  # ten times 0.4 s, the upper end of the median
    assert upstream.seen[0][2] == json.dumps(json.loads(upstream.seen[0][2]), separators=(",", ":")).encode()


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_stay_home_as_tool_calls(
    project: Project, start: Start, upstream: StandIn, stream: bool
) -> None:
    moved(project, BOOKING, answer=CITY)
    engine = Engine()
    async with start(upstream, opener=opening(engine)) as app, client(app) as api:
        asked = await api.chat.completions.create(**ask(BOOKING, "a seat in oslo", tools=TOOLS), stream=stream)
        if stream:
            deltas = [chunk.choices[0] async for chunk in asked]
            (call,) = [call for choice in deltas for call in choice.delta.tool_calls or []]
            reason = deltas[-1].finish_reason
        else:
            (call,), reason = asked.choices[0].message.tool_calls, asked.choices[0].finish_reason
            assert asked.choices[0].message.content is None
        up = await api.chat.completions.create(**ask(BOOKING, "a seat in oslo"))
    assert (call.function.name, json.loads(call.function.arguments)) == ("book", {"city": "Oslo"})
    assert call.id.startswith("call_")
    assert reason == "tool_calls"
    assert up.model == "gpt-4o-mini-2024"  # it offers no tools
    row = ledger(project)[0]
    assert row["freehold"]["student"]["answer"] == CALLS
    assert wire.answer(wire.call_from_row(row), "tools") == CALLS
    assert engine.asked[-1] == 'a seat in oslo\n\n{"tools":' + wire.dumps(TOOLS).decode() + "}"


@pytest.mark.parametrize(("theirs", "agrees"), [('{"seats": 2, "city": "Oslo"}', True), ('{"city":"Bergen"}', False)])
async def test_pairs_agree_by_the_task_s_rule(
    project: Project, start: Start, upstream: StandIn, theirs: str, agrees: bool
) -> None:
    moved(project, FIELDS)
    upstream.answer = theirs
    async with start(upstream, opener=opening(Engine()), pairs=1.0) as app, client(app) as api:
        await api.chat.completions.create(**ask(FIELDS, "two seats in oslo"))
        await until(lambda: app.parts.pairs.asked == 1)  # type: ignore[union-attr]
        watch = rung(app, FIELDS)["monitor"]
    assert (watch["pairs"], watch["differ"]) == (1, int(not agrees))
    assert ledger(project)[1]["freehold"]["agrees"] is agrees


async def test_what_is_longer_than_the_context_goes_up(project: Project, start: Start, upstream: StandIn) -> None:
    moved(project, FIELDS, threshold=0.0)
    async with start(upstream, opener=opening(Engine(context=40))) as app, client(app) as api:
        await api.chat.completions.create(**ask(FIELDS, "seat " * 20))
    own = ledger(project)[0]["freehold"]
    assert (own["why"], own["reason"]) == ("refused", "longer than the student's context: 40 tokens")
    assert own["student"]["able"] is False
    assert ("seat " * 20).encode() in upstream.seen[0][2]


@pytest.mark.parametrize(
    ("task", "says", "reason"),
    [
        (FIELDS, '{"city": "Os', "the student's answer is not whole JSON"),
        (BOOKING, '[{"name":"book","argum', "the student's answer is not whole JSON"),
        (BOOKING, '[{"name":"pay","arguments":{}}]', "the student calls a tool that is not offered"),
        (BOOKING, "Which city?", ""),
    ],
)
async def test_what_no_client_could_use_goes_up(
    project: Project, start: Start, upstream: StandIn, task: Task, says: str, reason: str
) -> None:
    moved(project, task)
    fields = {"tools": TOOLS} if task is BOOKING else {}
    async with start(upstream, opener=opening(Engine(says=says))) as app, client(app) as api:
        answer = await api.chat.completions.create(**ask(task, "two seats", **fields))
    own = ledger(project)[0]["freehold"]
    assert (own["why"], own["reason"]) == (("refused", reason) if reason else ("home", ""))
    assert answer.choices[0].message.content == ("transfer" if reason else says)


async def test_a_slow_student_holds_no_other_up(project: Project, start: Start, upstream: StandIn) -> None:
    moved(project, FIELDS)
    async with start(upstream, opener=opening(Engine(seconds=0.8))) as app, client(app) as api:
        slow = asyncio.create_task(api.chat.completions.create(**ask(FIELDS, "two seats in oslo")))
        await asyncio.sleep(0.1)
        begun = time.perf_counter()
        for _ in range(10):
            answer = await api.chat.completions.create(**request("what do i have"))
            assert answer.model.startswith("freehold/intents@")
        assert time.perf_counter() - begun < 0.6
        assert not slow.done()
        assert (await slow).model.startswith("freehold/fields@")


async def test_calls_that_would_wait_too_long_go_up_at_once(project: Project, start: Start, upstream: StandIn) -> None:
    """Ten times a call's usual time is what a call waits: an eleventh in the queue would only wait for nothing."""
    moved(project, FIELDS, latency=Measure(250.0, unit="ms"))
    async with start(upstream, opener=opening(Engine(seconds=0.25))) as app, client(app) as api:
        asked = [api.chat.completions.create(**ask(FIELDS, f"seats {i}")) for i in range(14)]
        answers = await asyncio.gather(*asked)
    up = [answer for answer in answers if answer.model == "gpt-4o-mini-2024"]
    busy = [own for row in ledger(project) if (own := row["freehold"])["reason"] == "the student is busy"]
    assert len(up) >= len(busy) == 4


async def test_an_engine_that_dies_lets_the_call_up_and_stays(
    project: Project, start: Start, upstream: StandIn
) -> None:
    moved(project, FIELDS)
    async with start(upstream, opener=opening(Engine())) as app, client(app) as api:
        for text in ("poison", "two seats in oslo", "poison"):
            await api.chat.completions.create(**ask(FIELDS, text))
        assert rung(app, FIELDS)["open"]
    owns = [row["freehold"] for row in ledger(project)]
    assert [own["answered_by"] for own in owns] == ["upstream", "student", "upstream"]
    assert owns[0]["reason"] == "the student failed: EngineFailed"


async def test_an_engine_that_dies_again_closes_the_rung_until_the_next_start(
    project: Project, start: Start, upstream: StandIn
) -> None:
    moved(project, FIELDS)
    engine = Engine()
    async with start(upstream, opener=opening(engine)) as app, client(app) as api:
        for text in ("poison", "poison 2", "two seats in oslo"):
            assert (await api.chat.completions.create(**ask(FIELDS, text))).model == "gpt-4o-mini-2024"
        health = rung(app, FIELDS)
        assert app.health()["status"] == "degraded"
        assert (await api.chat.completions.create(**request("what do i have"))).model.startswith("freehold/")
    assert (health["open"], health["why"]) == (False, "the student's engine died on 2 calls in a row")
    assert "two seats in oslo" not in engine.asked  # nobody waits for a slow student whose rung is closed
    events = [e for e in project.rows("rungs.jsonl") if e["task"] == "fields"]
    assert [(e["event"], e["by"]) for e in events] == [("opened", "start"), ("closed", "engine")]
    async with start(upstream, opener=opening(Engine())) as app:
        assert rung(app, FIELDS)["open"]


async def test_engines_are_closed_with_the_server(project: Project, start: Start, upstream: StandIn) -> None:
    moved(project, FIELDS)
    moved(project, BOOKING)
    fine, other = Engine(), Engine()
    async with start(upstream, opener=opening(fine, other)) as app:
        assert rung(app, FIELDS)["open"]
        assert rung(app, BOOKING)["open"]
    assert fine.closed.is_set()
    assert other.closed.is_set()


async def test_an_engine_that_answers_otherwise_here_is_closed_at_once(
    project: Project, start: Start, upstream: StandIn
) -> None:
    moved(project, FIELDS, answer='{"city":"Bergen"}')
    engine = Engine()
    async with start(upstream, opener=opening(engine)) as app:
        assert "gives another answer on its stored calls" in rung(app, FIELDS)["why"]
        assert engine.closed.is_set()


async def test_a_flipped_bit_in_the_base_that_students_share(project: Project, start: Start, upstream: StandIn) -> None:
    base = project.write_artifact(
        {"model.gguf": b"GGUF and more"}, kind="base", task="", base="tiny", licence="MIT", recipe={}, data_sha256=""
    )
    moved(project, FIELDS, parents=(base.sha256, "e" * 64))
    async with start(upstream, opener=opening(Engine())) as app:
        assert rung(app, FIELDS)["open"]
    model = project.artifact_path(base.sha256) / "model.gguf"
    model.write_bytes(b"GGUF and mose")
    engine = Engine()
    async with start(upstream, opener=opening(engine)) as app:
        assert "model.gguf is damaged" in rung(app, FIELDS)["why"]
    (model.parent / "manifest.json").unlink()  # and where nothing says any more what it should be
    async with start(upstream, opener=opening(engine)) as app:
        assert "holds no manifest" in rung(app, FIELDS)["why"]
    assert engine.asked == []


async def test_an_engine_that_is_not_installed(project: Project, start: Start, upstream: StandIn) -> None:
    moved(project, FIELDS)

    def opener(folder: Path, artifact: Artifact) -> Student:
        if artifact.kind != "decoder":
            return ScriptedStudent(SCRIPT)
        raise MissingExtra("This student needs the package xllamacpp.", "pip install 'freehold[text]'")

    async with start(upstream, opener=opener) as app:
        assert rung(app, FIELDS)["why"] == "This student needs the package xllamacpp. pip install 'freehold[text]'"


def test_a_student_that_opens_too_late_is_closed_all_the_same() -> None:
    students, engine, go = Students(), Engine(), threading.Event()

    def make() -> Student:
        go.wait()
        return engine

    with pytest.raises(Exception, match="not open after"):
        students.open(make, limit=0.05)
    assert not engine.closed.is_set()
    go.set()
    assert engine.closed.wait(5.0)
    students.close()
    late = Engine()
    with pytest.raises(Exception, match="stopping"):
        students.open(lambda: late)
    assert late.closed.is_set()
