"""Several rungs for a task: in the order of the ladder, each only behind the student whose deferred calls it had."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.hosting import hosting

from freehold.engines.hosted import Form, Gate, HostedStudent, Reach
from freehold.engines.hosts.secret import Secret
from freehold.errors import UpstreamMissing
from freehold.nouns import Artifact, Slot, Student, Task, TaskStudent, Template, Tokens, Verdict
from freehold.project import Project
from freehold.project.settings import TaskSettings
from freehold.serve.ladder.rungs import AFTER, OUTSIDE, close, rest_on

from .conftest import EVIDENCE, SCRIPT, new_verdict
from .rollout import Rungs, events, opened


def second(project: Project, after: str, **changes: Any) -> Verdict:
    """A verdict of a further rung: another scripted student, at a host."""
    first = next(verdict for verdict in project.verdicts() if not verdict.after)
    checks = [{"text": text, "label": label, "score": score} for text, (label, score) in list(SCRIPT.items())[:8]]
    made = project.write_artifact(
        {"script.json": json.dumps(SCRIPT).encode(), "checks.json": json.dumps(checks).encode()},
        kind="scripted", task="intents", base="second", licence="MIT", recipe={"n": 2}, data_sha256="0" * 64,
    )  # fmt: skip
    student = TaskStudent(made.sha256, "second", "MIT", "local")
    verdict = replace(first, student=student, after=after, evidence=EVIDENCE, **changes)
    project.save(verdict)
    return verdict


def ladder(rungs: Rungs) -> list[tuple[str, bool, str]]:
    steps = [step for step in rungs.steps if step.rung.task.name == "intents"]
    return [(step.rung.student, step.rung.open, step.rung.why) for step in steps]


def sha256(project: Project) -> str:
    student = project.verdicts()[0].student
    assert student is not None
    return student.sha256


def test_rungs_stand_in_the_order_of_the_ladder(project: Project) -> None:
    first = sha256(project)
    two = second(project, first)
    assert two.student is not None
    with opened(project) as rungs:
        assert ladder(rungs) == [(first, True, ""), (two.student.sha256, True, "")]
        assert [step.rung.outside for step in rungs.steps[:2]] == [False, True]
        assert [step.rung.after for step in rungs.steps[:2]] == ["", first]
        assert [str(step.stage) for step in rungs.steps[:2]] == ["shadow", "shadow"]
    assert [(e["event"], e.get("after")) for e in project.rows("rungs.jsonl")] == [
        ("opened", None), ("stage", None), ("opened", first), ("stage", first),
    ]  # fmt: skip
    with opened(project):
        pass
    assert len(project.rows("rungs.jsonl")) == 4


def test_a_rung_behind_another_student_is_closed(project: Project) -> None:
    second(project, "0" * 64)
    with opened(project) as rungs:
        assert [(open, why) for _, open, why in ladder(rungs)] == [(True, ""), (False, AFTER)]


def test_a_rung_behind_a_closed_one_is_closed(project: Project) -> None:
    first = sha256(project)
    second(project, first)
    (project.artifact_path(first) / "script.json").write_bytes(b"{}")
    with opened(project) as rungs:
        assert [open for _, open, _ in ladder(rungs)] == [False, False]
        assert ladder(rungs)[1][2] == AFTER
    assert [(e["event"], e["by"]) for e in project.rows("rungs.jsonl")] == [("closed", "start"), ("closed", "start")]


def test_what_rests_on_a_rung_that_closes(project: Project) -> None:
    """A closing of the second leaves the first; one of the first takes the second along, until the first is back."""
    first = sha256(project)
    second(project, first)
    with opened(project) as rungs:
        one, two, *_ = rungs.steps
        assert rest_on(rungs.steps, two) == []
        assert rest_on(rungs.steps, one) == [two]
        close(rungs.log, one, "an engine died", "engine")
        close(rungs.log, two, AFTER, "ladder")
    with opened(project) as rungs:
        assert [open for _, open, _ in ladder(rungs)] == [True, True]
        close(rungs.log, rungs.steps[1], "the promise of 0.95 fails")
    with opened(project) as rungs:
        assert [open for _, open, _ in ladder(rungs)] == [True, False]
        close(rungs.log, rungs.steps[0], "the promise of 0.95 fails")
    with opened(project) as rungs:
        assert [open for _, open, _ in ladder(rungs)] == [False, False]


def test_a_running_rung_closes_where_the_student_before_it_changed(project: Project) -> None:
    first = sha256(project)
    two = second(project, first)
    with opened(project) as rungs:
        before = list(rungs.steps)
        new_verdict(project, decision="stay", threshold=None)
        if two not in project.verdicts():  # saved again, where the project took it for outdated
            project.save(two)
        with opened(project, kept=before) as again:
            (left,) = [step for step in again.steps if step.rung.task.name == "intents"]
            assert left is before[1]
            assert (left.rung.open, left.rung.why) == (False, AFTER)
    assert events(project, "closed")[-1]["by"] == "ladder"


# a student at a host


def at_host(project: Project, url: str) -> str:
    """A verdict of a student that runs at `url`; its sha256."""
    task = Task("intents", Template((Slot("user", "", variable=True),)), "labels", 9, 1.0, labels=("balance",))
    form = msgspec.structs.replace(Form.of(task, "local", url, "m", private=False), logprobs=False)
    made = project.write_artifact(
        {"hosted.json": form.encode(), "checks.json": b'[{"text": "a", "label": "balance", "score": 1.0}]'},
        kind="hosted", task="intents", base="m", licence="MIT", recipe={"url": url}, data_sha256="0" * 64,
    )  # fmt: skip
    verdict = next(verdict for verdict in project.verdicts() if not verdict.after)
    for path in (project.path / "verdicts").iterdir():
        path.unlink()
    project.save(replace(verdict, student=TaskStudent(made.sha256, "m", "MIT", "local")))
    return made.sha256


def opener(folder: Path, artifact: Artifact) -> Student:
    assert artifact.kind == "hosted"
    return HostedStudent.open(folder, lambda name: Reach(name, str(artifact.recipe["url"]), "m", Secret("")))


def never_leaves(project: Project) -> None:
    project.settings = replace(project.settings, tasks={"intents": TaskSettings(leaves=False, unsure="answer")})


def test_a_host_outside_is_not_even_asked_the_stored_calls_of_a_task_that_never_leaves(project: Project) -> None:
    at_host(project, "https://api.example/v1")
    never_leaves(project)
    asked: list[Path] = []

    def noted(folder: Path, artifact: Artifact) -> Student:
        asked.append(folder)
        return opener(folder, artifact)

    with opened(project, opener=noted) as rungs:
        assert (rungs.step.seat, rungs.step.rung.open, rungs.step.rung.why) == (None, False, OUTSIDE)
    assert not asked


def test_a_local_name_that_leads_outside_is_not_asked_what_never_leaves(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hosting(lambda body: ("balance", None)) as host:
        at_host(project, host.url.replace("127.0.0.1", "localhost"))
        monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("93.184.215.14", 80))
        with opened(project, opener=opener) as rungs:
            assert rungs.step.rung.open
        seen = len(host.seen)
        never_leaves(project)
        with opened(project, opener=opener) as rungs:
            assert not rungs.step.rung.open
        assert len(host.seen) == seen == 1


def test_the_gate_of_a_host_is_asked_and_told_from_the_stored_calls_on(project: Project) -> None:
    billed: list[tuple[str, Tokens]] = []
    gate = Gate(left=lambda: 2.0 - len(billed), bill=lambda model, tokens: billed.append((model, tokens)))
    with hosting(lambda body: ("balance", None)) as host:
        at_host(project, host.url)
        with opened(project, opener=opener, gates={"local": gate}) as rungs:
            assert rungs.step.seat is not None
            assert rungs.step.seat.student.answers(["b"])[0].text == "balance"
            with pytest.raises(UpstreamMissing, match="budget of the day"):
                rungs.step.seat.student.answers(["c"])
    assert billed == [("m", Tokens(100, 4))] * 2
