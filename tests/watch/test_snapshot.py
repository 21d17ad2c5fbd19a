"""The state of the promise, and what never leaves the process."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.nouns import Verdict
from freehold.project import Project
from freehold.watch.snapshot import Watcher, mask
from freehold.wire import dumps

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def state(project: Project) -> tuple[str, str, str]:
    [task] = Watcher(project).snapshot()["tasks"]
    return task["state"], task["why"], task["since"]


def test_the_states_of_the_promise(project: Project, verdict: Verdict, row: Row, write: Write) -> None:
    assert state(project)[0] == "unmonitored"  # nobody has said that anything is watched
    opened = project.rows("rungs.jsonl")[-1] | {"at": "2026-11-24T04:10:00+00:00"}
    project.append("rungs.jsonl", opened | {"watched": 0.0})
    assert state(project)[0] == "unmonitored"
    project.append("rungs.jsonl", opened | {"watched": 0.02})
    assert state(project) == ("open", "", "2026-11-24T04:10:00+00:00")
    write(project, [row(0, pairs=0.0)])
    assert state(project)[0] == "unmonitored"
    write(project, [row(1)])
    assert state(project)[0] == "open"
    closed = {"at": "2026-11-24T09:00:00+00:00", "task": "router", "event": "closed", "why": "9 of 300 pairs differ"}
    project.append("rungs.jsonl", closed | {"student": verdict.student and verdict.student.sha256})
    assert state(project) == ("closed", "9 of 300 pairs differ", "2026-11-24T09:00:00+00:00")
    assert verdict.student
    newer = dataclasses.replace(verdict, student=dataclasses.replace(verdict.student, sha256="0" * 64))
    project.save(newer)
    assert state(project)[0] == "not served"
    project.save(dataclasses.replace(verdict, decision="stay", student=None, threshold=None, reason="too noisy"))
    assert state(project)[:2] == ("stays", "too noisy")


@pytest.mark.parametrize(
    "line",
    [b'{"task":"x"', b"[]", b"\xff", b'{"task":"router"}', b'{"task":3,"at":"2027"}', b"[" * 9999, b"null", b'"task"',
     b'{"task":"router","event":"closed","at":"yesterday"}', b'{"task":"router","event":"closed"}'],
)  # fmt: skip
def test_a_line_that_is_no_event_is_left_out(project: Project, line: bytes) -> None:
    with (project.path / "rungs.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert state(project)[0] == "unmonitored"
    event = {"at": "2026-11-24T06:20:00+00:00", "task": "router", "event": "opened", "watched": 0.02}
    project.append("rungs.jsonl", event | {"student": project.verdicts()[0].student.sha256})  # type: ignore[union-attr]
    assert state(project)[0] == "open"


def test_pairs_count_for_their_own_student(project: Project, row: Row, write: Write) -> None:
    other = row(0)["freehold"]["student"] | {"sha256": "1" * 64}
    write(project, [row(i, "pair", agrees=True) for i in range(5)])
    write(project, [row(i, "pair", agrees=False, student=other) for i in range(3)])
    found = Watcher(project).snapshot()
    assert found["tasks"][0]["rungs"][0]["pairs"]["home"]["n"] == 5
    assert found["agreement"]["home"]["n"] == 8


def test_a_task_without_a_verdict(tmp_path: Path, row: Row, write: Write) -> None:
    project = Project.create(tmp_path / "new")
    assert Watcher(project).snapshot()["tasks"] == []
    write(project, [row(0, "unmatched", task="else")])
    assert state(project)[0] == "no verdict"


def test_prompts_are_masked_unless_asked_for(project: Project, row: Row, write: Write) -> None:
    text = "my account 4929123412341234 was robbed by my brother"
    secret = row(0, "escalated", text=text, reason=f"upstream said: bad request: {text}")
    write(
        project, [secret, row(1, "unmatched", task="", text="ok"), row(2, "escalated", text="verylongsingleword" * 9)]
    )
    said = dumps(Watcher(project).snapshot()).decode()
    assert "my account … (52 characters)" in said
    for word in ("4929", "robbed", "brother", "verylongsinglew"):
        assert word not in said
    assert json.loads(said)["prompts"] == "masked"
    shown = dumps(Watcher(project, show_prompts=True).snapshot()).decode()
    assert text in shown
    assert json.loads(shown)["prompts"] == "shown"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("how do i freeze my card", "how do … (23 characters)"),
        ("ok", "o … (2 characters)"),
        ("", " … (0 characters)"),
        ("a" * 3000, "a" * 12 + " … (3,000 characters)"),
        ("secret pin", "secre … (10 characters)"),
        ("\n\tfirst\nsecond third", "first seco … (20 characters)"),
    ],
)
def test_mask(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_of_an_answer_that_is_no_label_the_length_alone_is_shown(
    project: Project, verdict: Verdict, row: Row, write: Write
) -> None:
    project.save(dataclasses.replace(verdict, kind="text"))
    student = row(0)["freehold"]["student"] | {"answer": "dear mister smith of elm street"}
    write(project, [row(0, "escalated", student=student)])
    [up] = Watcher(project).snapshot()["ups"]
    assert up["answer"] == "an answer of 31 characters"


def test_what_the_student_is(project: Project, verdict: Verdict) -> None:
    about = b'{"mode": "fewshot", "quant": "Q4_1", "k": 4}'
    made = project.write_artifact(
        {"decoder.json": about}, kind="decoder", task="router", base="smollm2", licence="MIT", recipe={}, data_sha256=""
    )
    assert verdict.student
    student = dataclasses.replace(verdict.student, sha256=made.sha256)
    project.save(dataclasses.replace(verdict, kind="sql", student=student))
    [task] = Watcher(project).snapshot()["tasks"]
    [rung] = task["rungs"]
    assert (rung["kind"], rung["student"]) == ("sql", "few-shot on smollm2, Q4_1, the 4 nearest logged calls")
