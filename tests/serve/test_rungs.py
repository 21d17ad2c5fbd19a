"""A rung opens only where everything holds, closes when it must, and stays closed until there is newer evidence."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.label import TOLERANCE
from freehold.engines.scripted import ScriptedStudent
from freehold.errors import ArtifactDamaged, ServeRefused, StorageFailed, StudentUnusable, UpstreamMissing
from freehold.nouns import Answer, Artifact, Audit, Student
from freehold.project import Project
from freehold.serve import running
from freehold.serve.app import App
from freehold.serve.ladder import rungs
from freehold.serve.ladder.rungs import close

from .conftest import EVIDENCE, SCRIPT, StandIn, Start, client, new_verdict, request, scripted
from .test_ledger import full_disk


def intents(app: App) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in app.health()["rungs"] if r["task"] == "intents")
    return found


async def test_opening_is_written_down_once(project: Project, start: Start) -> None:
    for _ in range(2):
        async with start(None) as app:
            assert intents(app)["open"]
    (event,) = project.rows("rungs.jsonl")
    assert event.keys() == {"at", "task", "event", "why", "student", "verdict", "by"}
    assert (event["task"], event["event"], event["by"]) == ("intents", "opened", "start")


async def test_one_flipped_bit_leaves_the_rung_closed(project: Project, start: Start, upstream: StandIn) -> None:
    verdict = project.verdicts()[0]
    assert verdict.student is not None
    path = project.artifact_path(verdict.student.sha256) / "script.json"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    async with start(upstream) as app, client(app) as api:
        assert "script.json is damaged" in intents(app)["why"]
        assert (await api.chat.completions.create(**request("move 50 to savings"))).model == "gpt-4o-mini-2024"
        assert app.health()["status"] == "degraded"
    assert project.rows("rungs.jsonl")[-1]["event"] == "closed"
    with pytest.raises(ArtifactDamaged, match=r"script\.json is damaged"):  # nothing else could be served
        async with start(None):
            pass
    data[5] ^= 1
    path.write_bytes(data)
    async with start(upstream) as app:
        assert intents(app)["open"]
    assert [e["event"] for e in project.rows("rungs.jsonl")] == ["closed", "opened"]


def later(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="seconds")


def off_by(gap: float, label: str | None = None) -> Any:
    def opener(folder: Path, artifact: Artifact) -> Student:
        return ScriptedStudent({text: (label or name, score - gap) for text, (name, score) in SCRIPT.items()})

    return opener


@pytest.mark.parametrize(
    ("opener", "why"),
    [
        (off_by(TOLERANCE * 1.1), "a score that is off by 0.0011"),
        (off_by(0.0, "transfer"), "another label"),
        (lambda folder, artifact: ScriptedStudent({}), "failed on its stored calls: KeyError"),
    ],
)
async def test_another_machine_leaves_the_rung_closed(
    project: Project, start: Start, upstream: StandIn, opener: Any, why: str
) -> None:
    async with start(upstream, opener=opener) as app:
        assert not intents(app)["open"]
        assert why in intents(app)["why"]
    assert why in project.rows("rungs.jsonl")[-1]["why"]
    with pytest.raises(StudentUnusable):
        async with start(None, opener=opener):
            pass


async def test_a_difference_within_tolerance_is_fine(start: Start) -> None:
    async with start(None, opener=off_by(TOLERANCE * 0.9)) as app:
        assert intents(app)["open"]


async def test_closed_stays_closed_until_newer_evidence(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(upstream, pairs=0.5) as app:
        close(project, app.parts.steps[0], "the promise of 0.95 fails")
    for _ in range(2):
        async with start(upstream, pairs=0.5) as app, client(app) as api:
            assert (intents(app)["open"], intents(app)["why"]) == (False, "the promise of 0.95 fails")
            assert (await api.chat.completions.create(**request("move 50 to savings"))).model == "gpt-4o-mini-2024"
    new_verdict(project, made=later(30))  # a new verdict on the old calls
    async with start(upstream) as app:
        assert not intents(app)["open"]
    newer = replace(EVIDENCE, newest=time.time() + 5)
    new_verdict(project, evidence=newer, made=later(-60))  # a log whose times lie ahead of the clock
    async with start(upstream) as app:
        assert not intents(app)["open"]
    new_verdict(project, evidence=newer, made=later(60))
    async with start(upstream) as app:
        assert intents(app)["open"]
    assert [e["event"] for e in project.rows("rungs.jsonl")] == ["opened", "closed", "closed", "closed", "opened"]


async def test_a_log_without_times_never_reopens(project: Project, start: Start, upstream: StandIn) -> None:
    async with start(upstream, pairs=0.5) as app:
        close(project, app.parts.steps[0], "the promise of 0.95 fails")
    new_verdict(project, evidence=replace(EVIDENCE, newest=None))
    async with start(upstream) as app:
        assert not intents(app)["open"]


@pytest.mark.parametrize("decision", ["stay", "need_more"])
async def test_only_move_opens(project: Project, start: Start, upstream: StandIn, decision: str) -> None:
    new_verdict(project, decision=decision, threshold=None)
    async with start(upstream) as app:
        assert decision in intents(app)["why"]
    assert project.rows("rungs.jsonl") == []
    with pytest.raises(UpstreamMissing):
        async with start(None):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "", "example.org"])
async def test_no_other_bind(project: Project, host: str) -> None:
    with pytest.raises(ServeRefused, match="client keys"):
        async with running(project, project.load(Audit), None, scripted, host=host):
            pass


async def test_a_full_disk_at_the_start_leaves_the_rung_closed(
    project: Project, start: Start, upstream: StandIn
) -> None:
    said: list[str] = []
    (project.path / "rungs.jsonl").mkdir()  # can be neither read nor written
    with full_disk(0, project.path / "ledger"):
        async with start(upstream, tell=lambda what, done=None, /: said.append(what)) as app, client(app) as api:
            assert not intents(app)["open"]
            assert (await api.chat.completions.create(**request("move 50 to savings"))).model == "gpt-4o-mini-2024"
    (project.path / "rungs.jsonl").rmdir()
    with full_disk(0, project.path / "ledger"):
        async with start(upstream, tell=lambda what, done=None, /: said.append(what)) as app, client(app) as api:
            assert "rungs.jsonl" in intents(app)["why"]
            assert (await api.chat.completions.create(**request("move 50 to savings"))).model == "gpt-4o-mini-2024"
        with pytest.raises(StorageFailed):  # nothing else could be served
            async with start(None):
                pass
    assert any(line.startswith(f"Can't write {project.path}/rungs.jsonl") for line in said)
    async with start(upstream) as app:
        assert intents(app)["open"]


async def test_a_student_that_does_not_end_at_the_start(
    project: Project, start: Start, upstream: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rungs, "PATIENCE", 0.001)

    class Stuck:
        def answers(self, texts: Sequence[str], /) -> list[Answer]:
            threading.Event().wait()
            raise AssertionError

    async with start(upstream, opener=lambda folder, artifact: Stuck()) as app:
        assert "does not come to an end" in intents(app)["why"]


async def test_what_was_certified_is_served_whatever_was_audited_since(project: Project, start: Start) -> None:
    """A new audit widens the task (another model, another temperature): none of that was ever certified."""
    audit = project.load(Audit)
    wider = replace(audit.tasks[0], models=("gpt-4o-mini", "gpt-5-mini"), params={"temperature": [0, 0.7]})
    project.save(replace(audit, tasks=(wider, *audit.tasks[1:])))
    async with start(None) as app:
        step = next(s for s in app.parts.steps if s.rung.task.name == "intents")
        assert step.rung.task == audit.tasks[0]
        assert intents(app)["open"]


async def test_a_verdict_that_does_not_say_what_it_is_about_stays_closed(
    project: Project, start: Start, upstream: StandIn
) -> None:
    new_verdict(project, asked=None)
    async with start(upstream) as app:
        assert not intents(app)["open"]
        assert "freehold prove" in intents(app)["why"]
