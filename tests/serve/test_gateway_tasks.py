"""What is declared of a task holds on every path, whatever is broken: never at home, never out of the house."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.llama.process import EngineDied
from freehold.engines.scripted import ScriptedStudent
from freehold.errors import StudentUnusable
from freehold.nouns import Answer, Artifact, Audit, Slot, Student, Template
from freehold.project import Project
from freehold.project.gateway import RolloutSettings
from freehold.project.settings import TaskSettings

from .conftest import OTHER, SCRIPT, TASK, StandIn, Start, client, ledger, request, standing, until
from .gateway import declare, give, hosts, post

SHADOW = RolloutSettings()
SURE, UNSURE = "question 7", "sing to me"


@dataclass
class Odd:
    """A student that can break after it was opened."""

    script: dict[str, tuple[str, float]]
    mode: str = "fine"
    free: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def answers(self, texts: list[str]) -> list[Answer]:
        self.asked += 1
        match self.mode:
            case "fails":
                raise ValueError(texts[0])
            case "dies":
                raise EngineDied("the engine died", kills=1)
            case "late":
                self.free.wait(6.0)
        return ScriptedStudent(self.script).answers(texts)


@pytest.fixture
def odd() -> Iterator[Odd]:
    found = Odd(SCRIPT)
    yield found
    found.free.set()


async def test_a_task_that_is_never_answered_at_home(project: Project, start: Start, upstream: StandIn) -> None:
    declare(project, home=False)
    async with start(upstream, pairs=1.0) as app, client(app) as api:
        for stream in (False, True):
            for text in (SURE, UNSURE):
                await api.chat.completions.create(**request(text), stream=stream)
    assert len(upstream.seen) == 4
    await until(lambda: len(ledger(project)) == 4)
    rows = [row["freehold"] for row in ledger(project)]
    assert {(row["task"], row["why"], row["answered_by"], row["student"]) for row in rows} == {
        ("intents", "declared", "upstream", None)
    }


async def test_unsure_calls_are_refused(project: Project, start: Start, upstream: StandIn) -> None:
    declare(project, leaves=False)
    async with start(upstream, pairs=1.0) as app:
        for stream in (False, True):
            assert (await post(app.port, request(SURE, stream=stream))).text == "balance"
            answer = await post(app.port, request(UNSURE, stream=stream))
            assert (answer.status, answer.code) == (422, "never_leaves")
            assert "0.4" in answer.json["error"]["message"]  # the reason is named
        for asks in ({"n": 2}, {"logprobs": True}, {"tools": [{"type": "function", "function": {"name": "f"}}]}):
            answer = await post(app.port, request(SURE, **asks))
            assert (answer.status, answer.code) == (422, "never_leaves")
    rows = [row["freehold"] for row in ledger(project)]
    assert [(row["why"], row["status"], row["answered_by"]) for row in rows if row["http"] == 422] == [
        ("never_leaves", "refused", "nobody")
    ] * 5
    assert upstream.seen == []


async def test_unsure_calls_are_answered_below_the_bar(project: Project, start: Start, upstream: StandIn) -> None:
    declare(project, leaves=False, unsure="answer")
    async with start(upstream, pairs=1.0) as app:
        for stream in (False, True):
            sure, unsure = [await post(app.port, request(text, stream=stream)) for text in (SURE, UNSURE)]
            assert (sure.text, sure.headers.get("x-freehold-below-bar")) == ("balance", None)
            assert (unsure.text, unsure.headers["x-freehold-below-bar"]) == ("other", "true")
        pairs = app.parts.pairs
        assert pairs is not None
        assert (pairs.asked, pairs.waiting, pairs.lost) == (0, 0, 0)
    rows = [row["freehold"] for row in ledger(project)]
    assert [row["why"] for row in rows] == ["home", "below_bar"] * 2
    assert not any("pairs" in row for row in rows if row["why"] == "below_bar")
    assert upstream.seen == []


BROKEN = ("fine", "closed", "no seat", "fails", "dies", "late", "busy", "unwritable", "shadow", "canary", "outside")


@contextmanager
def unwritable(project: Project) -> Iterator[None]:
    """No file of the ledger can be made."""
    folder = project.path / "ledger"
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.write_bytes(b"")
    try:
        yield
    finally:
        folder.unlink()
        kept.rename(folder)


@pytest.mark.parametrize("unsure", ["refuse", "answer"])
@pytest.mark.parametrize("state", BROKEN)
async def test_no_byte_leaves_whatever_is_broken(
    project: Project, start: Start, upstream: StandIn, odd: Odd, state: str, unsure: str
) -> None:
    """Two hosts, pairs of every call, private data as it is: nothing of the task reaches either, in any state."""
    declare(project, leaves=False, unsure=unsure)

    def opener(folder: Path, artifact: Artifact) -> Student:
        if state == "no seat":
            raise StudentUnusable("it does not open")
        return odd

    if state == "outside":
        verdict = project.verdicts()[0]
        assert verdict.student is not None
        for path in (project.path / "verdicts").iterdir():
            path.unlink()
        project.save(replace(verdict, student=replace(verdict.student, host="elsewhere")))
    rollout = SHADOW if state in ("shadow", "canary") else RolloutSettings(start="full")
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(standing())
        settings = hosts(project, second=second)
        app = await stack.enter_async_context(
            start(upstream, pairs=1.0, rollout=rollout, opener=opener, settings=settings)
        )
        step = app.parts.steps[0]
        odd.mode = state if state in ("fails", "dies", "late") else "fine"
        if state == "closed":
            step.shut("the promise of 0.95 fails")
        elif state == "canary":
            assert step.stage is not None
            step.stage.move(0.05, "for this test")
        elif state == "busy":
            assert step.seat is not None
            step.seat.waiting = 10_000
        elif state == "unwritable":
            app.parts.ledger._retire()
            stack.enter_context(unwritable(project))
        calls = [
            request(text, stream=stream, user=f"u-{i}")
            for i, text in enumerate((SURE, UNSURE, "something else"))
            for stream in (False, True)
        ]
        answers = await asyncio.gather(*(post(app.port, one) for one in [*calls, request(SURE, n=2)]))
        for answer in answers:
            assert answer.status == 200 or (answer.status, answer.code) == (422, "never_leaves")
        if state == "dies":
            again = await post(app.port, request(SURE))
            assert (again.status, again.code) in ((422, "never_leaves"), (422, "quarantined"))
        assert any(answer.status == 200 for answer in answers) == (
            state in ("fine", "unwritable", "shadow", "canary") or (state == "closed" and unsure == "answer")
        )
        await until(lambda: app.parts.metrics.running == 0)
    assert (upstream.seen, second.seen) == ([], [])


async def test_a_text_that_kills_the_engine_twice(project: Project, start: Start, upstream: StandIn, odd: Odd) -> None:
    """The third call with it gets 422 without anybody being asked; others go on."""
    declare(project, leaves=False)
    async with start(upstream, opener=lambda folder, artifact: odd) as app:
        odd.mode = "dies"
        codes = []
        for _ in range(3):
            codes.append((await post(app.port, request(SURE))).code)
            asked = odd.asked
            odd.mode = "fine"  # it starts again
            await post(app.port, request("question 8"))
            odd.mode = "dies"
            assert odd.asked == asked + 1
        assert codes == ["never_leaves", "never_leaves", "quarantined"]
        odd.mode = "fine"
        assert (await post(app.port, request("question 8"))).status == 200
    assert upstream.seen == []


async def test_a_route_whose_task_never_leaves(project: Project, start: Start, upstream: StandIn) -> None:
    """A task of completions is told from no other there: what passes up unread stays in the house."""
    audit = project.load(Audit)
    project.save(replace(audit, tasks=(TASK, replace(OTHER, endpoint="completions"))))
    project.settings = replace(project.settings, tasks={"poems": TaskSettings(leaves=False)})
    async with start(upstream) as app:
        answer = await post(app.port, {"model": "gpt-4o-mini", "prompt": "a poem"}, path="/v1/completions")
        assert (answer.status, answer.code) == (422, "never_leaves")
        for path in ("/v1/embeddings", "/v1/responses", "/v1/moderations"):
            answer = await post(app.port, {"model": "m", "input": "a"}, path=path)
            assert (answer.status, answer.code) == (422, "never_leaves")
        assert upstream.seen == []


async def test_a_key_for_some_tasks_on_a_route_of_others(project: Project, start: Start, upstream: StandIn) -> None:
    audit = project.load(Audit)
    project.save(replace(audit, tasks=(TASK, replace(OTHER, endpoint="completions"))))
    chat, poems = give(project, "chat", tasks=("intents",)), give(project, "poems", tasks=("poems",))
    body = {"model": "gpt-4o-mini", "prompt": "a poem", "max_tokens": 5}
    async with start(upstream) as app:
        answer = await post(app.port, body, chat, "/v1/completions")
        assert (answer.status, answer.code) == (403, "task_not_allowed")
        assert upstream.seen == []
        assert (await post(app.port, body, poems, "/v1/completions")).status == 200
        assert (await post(app.port, {"model": "m", "input": "a"}, poems, "/v1/embeddings")).status == 403


def forms() -> dict[str, dict[str, Any]]:
    """The task's own call, as clients say it too."""
    system, user = request(UNSURE)["messages"]
    parts = [{"type": "text", "text": user["content"][:12]}, {"type": "text", "text": user["content"][12:]}]
    spaced = system | {"content": "  " + system["content"].replace(" ", "\n ") + " "}
    further = [{"role": "assistant", "content": "other"}, {"role": "user", "content": "and now?"}]
    found = {
        "developer": [system | {"role": "developer"}, user], "parts": [system, user | {"content": parts}],
        "system in parts": [system | {"content": [{"type": "text", "text": system["content"]}]}, user],
        "named": [system, user | {"name": "ana"}], "white space": [spaced, user], "turn": [system, user, *further],
        "one message": [user | {"content": system["content"] + "\n" + user["content"]}],
        "longer": [system | {"content": "Be brief. " + system["content"] + " Thank you."}, user],
        "capitals": [system | {"content": system["content"].upper()}, user], "alone": [system],
        "image": [system, user | {"content": [*parts, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}],
    }  # fmt: skip
    return {name: request("") | {"messages": messages} for name, messages in found.items()}


@pytest.mark.parametrize("name", sorted(forms()))
async def test_the_tasks_calls_in_another_form(project: Project, start: Start, upstream: StandIn, name: str) -> None:
    declare(project, leaves=False)
    async with start(upstream) as app:
        for stream in (False, True):
            answer = await post(app.port, forms()[name] | {"stream": stream})
            assert (answer.status, answer.code) == (422, "never_leaves")
        assert upstream.seen == []
        other = [{"role": "system", "content": "Name the intent."}, {"role": "user", "content": "Message: sing to me"}]
        assert (await post(app.port, request("") | {"messages": other})).status == 200  # no such task
    rows = [row["freehold"] for row in ledger(project)]
    assert [(row["task"], row["why"]) for row in rows] == [("intents", "never_leaves")] * 2 + [("", "unmatched")]


async def test_another_tasks_call_with_the_tasks_words(project: Project, start: Start, upstream: StandIn) -> None:
    """A text that holds them is held back, whosever call it is; a template that shares them is another task's."""
    declare(project, leaves=False)
    shared = Template((TASK.template.slots[0], Slot("user", "Text: ", "", variable=True)))
    audit = project.load(Audit)
    project.save(replace(audit, tasks=(TASK, OTHER, replace(OTHER, name="texts", template=shared))))
    async with start(upstream) as app:
        system, user = request(UNSURE)["messages"]
        poem = {"role": "user", "content": "Write a poem about " + system["content"]}
        answer = await post(app.port, request("") | {"messages": [poem]})
        assert (answer.status, answer.code) == (422, "never_leaves")
        assert upstream.seen == []
        texts = [system, user | {"content": "Text: sing to me"}]
        assert (await post(app.port, request("") | {"messages": texts})).status == 200
        assert (
            await post(app.port, request("") | {"messages": [{**poem, "content": "Write a poem about a"}]})
        ).status == 200
